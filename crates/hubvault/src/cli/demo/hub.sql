-- A sample in the spirit of Smart AI Hub. {{users}} users; six credit and three point
-- transactions each, over a year. organizations, agencies and referrals do not exist here, as in
-- many a real hub.
SELECT setseed(0.42);

CREATE TYPE user_tier AS ENUM ('free', 'starter', 'pro', 'agency');
CREATE TYPE transaction_type AS ENUM ('topup', 'usage', 'refund', 'bonus', 'transfer');
CREATE TYPE payment_status AS ENUM ('pending', 'paid', 'failed', 'refunded');

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE,
    display_name text NOT NULL,
    tier user_tier NOT NULL DEFAULT 'free',
    invited_by uuid REFERENCES users,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);
CREATE TABLE roles (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE permissions (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE role_permissions (
    role_id int REFERENCES roles, permission_id int REFERENCES permissions,
    PRIMARY KEY (role_id, permission_id)
);
CREATE TABLE user_roles (
    user_id uuid REFERENCES users ON DELETE CASCADE, role_id int REFERENCES roles,
    PRIMARY KEY (user_id, role_id)
);
CREATE TABLE credit_accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL UNIQUE REFERENCES users,
    balance numeric(14, 4) NOT NULL DEFAULT 0
);
CREATE TABLE point_accounts (
    id bigserial PRIMARY KEY,
    user_id uuid NOT NULL UNIQUE REFERENCES users,
    points bigint NOT NULL DEFAULT 0
);
CREATE TABLE payments (
    id bigserial PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    amount numeric(12, 2) NOT NULL,
    currency char(3) NOT NULL,
    status payment_status NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE purchases (
    id bigserial PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    payment_id bigint REFERENCES payments,
    product text NOT NULL,
    price numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE credit_transactions (
    id bigserial PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES credit_accounts,
    user_id uuid NOT NULL REFERENCES users,
    type transaction_type NOT NULL,
    amount numeric(14, 4) NOT NULL,
    note text,
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE point_transactions (
    id bigserial PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES point_accounts,
    user_id uuid NOT NULL REFERENCES users,
    points int NOT NULL,
    reason text,
    metadata jsonb,
    created_at timestamptz NOT NULL
);
CREATE TABLE exchange_rates (
    base char(3), quote char(3), rate numeric(18, 8) NOT NULL, day date,
    PRIMARY KEY (base, quote, day)
);
CREATE TABLE system_settings (key text PRIMARY KEY, value jsonb NOT NULL, comment text);

INSERT INTO users
SELECT md5('user ' || n)::uuid, 'user' || n || '@example.org',
       (ARRAY['Ada', 'Grace', 'Linus', 'Ελένη', '李雷', 'Zoë', 'Søren'])[n % 7 + 1] || ' ' || n,
       (ARRAY['free', 'free', 'free', 'starter', 'pro', 'agency'])[n % 6 + 1]::user_tier,
       CASE WHEN n % 5 = 0 AND n > 10 THEN md5('user ' || (n / 10))::uuid END,
       jsonb_build_object('theme', CASE WHEN n % 2 = 0 THEN 'dark' ELSE 'light' END, 'beta', n % 9 = 0),
       now() - random() * interval '2 years'
FROM generate_series(1, {{users}}) n;

INSERT INTO roles VALUES (1, 'user'), (2, 'support'), (3, 'admin');
INSERT INTO permissions SELECT n, 'permission ' || n FROM generate_series(1, 24) n;
INSERT INTO role_permissions
SELECT r, p FROM generate_series(1, 3) r, generate_series(1, 24) p WHERE p <= r * 8;
INSERT INTO user_roles SELECT id, 1 FROM users;
INSERT INTO user_roles SELECT id, 3 FROM users ORDER BY id LIMIT 5;
INSERT INTO credit_accounts (user_id, balance) SELECT id, round((random() * 1000)::numeric, 4) FROM users;
INSERT INTO point_accounts (user_id, points) SELECT id, (random() * 10000)::bigint FROM users;
INSERT INTO payments (user_id, amount, currency, status, created_at)
SELECT user_id, round((random() * 200)::numeric, 2), (ARRAY['EUR', 'USD', 'GBP'])[id % 3 + 1],
       (ARRAY['paid', 'paid', 'paid', 'pending', 'failed', 'refunded'])[id % 6 + 1]::payment_status,
       now() - random() * interval '1 year'
FROM credit_accounts WHERE id % 2 = 0;
INSERT INTO purchases (user_id, payment_id, product, price, created_at)
SELECT user_id, id, 'credits ' || (id % 5 + 1) * 100, amount, created_at + interval '1 minute'
FROM payments WHERE status = 'paid';
INSERT INTO credit_transactions (account_id, user_id, type, amount, note, metadata, created_at)
SELECT a.id, a.user_id,
       (ARRAY['topup', 'usage', 'usage', 'usage', 'refund', 'bonus'])[t]::transaction_type,
       round((random() * 100 - 50)::numeric, 4),
       CASE WHEN t = 5 THEN E'refund "as agreed"\nsecond line, with a comma' END,
       jsonb_build_object('model', 'model-' || (a.id + t) % 7, 'tokens', (random() * 4000)::int,
                          'request', md5((a.id * 10 + t)::text)),
       now() - random() * interval '1 year'
FROM credit_accounts a, generate_series(1, 6) t;
INSERT INTO point_transactions (account_id, user_id, points, reason, metadata, created_at)
SELECT a.id, a.user_id, (random() * 100)::int, CASE WHEN t = 3 THEN NULL ELSE 'daily login' END,
       CASE WHEN t = 2 THEN jsonb_build_object('streak', a.id % 30) END,
       now() - random() * interval '1 year'
FROM point_accounts a, generate_series(1, 3) t;
INSERT INTO exchange_rates
SELECT b, q, round((0.5 + random())::numeric, 8), current_date - d
FROM unnest(ARRAY['EUR', 'USD', 'GBP', 'THB']) b, unnest(ARRAY['EUR', 'USD', 'GBP', 'THB']) q,
     generate_series(0, 364) d
WHERE b <> q;
INSERT INTO system_settings
SELECT 'setting.' || n, jsonb_build_object('value', n), 'the comment of ' || n FROM generate_series(1, 40) n;

CREATE INDEX ON credit_transactions (created_at);
CREATE INDEX ON credit_transactions (user_id);
CREATE INDEX ON point_transactions (created_at);
CREATE INDEX ON purchases (created_at);
CREATE INDEX ON users (invited_by);
CREATE INDEX ON credit_transactions (account_id);
CREATE INDEX ON point_transactions (account_id);
CREATE INDEX ON point_transactions (user_id);
CREATE INDEX ON purchases (user_id);
CREATE INDEX ON purchases (payment_id);
CREATE INDEX ON payments (user_id);
CREATE VIEW paying_users AS
    SELECT u.id, u.email, count(*) AS purchases FROM users u JOIN purchases p ON p.user_id = u.id
    GROUP BY u.id;
CREATE MATERIALIZED VIEW users_by_tier AS SELECT tier, count(*) FROM users GROUP BY tier;
ANALYZE;
