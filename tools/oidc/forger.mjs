// An identity provider for the tests that lies as it is told: the code that is exchanged says how. Nothing but Node.
// Usage: node forger.mjs; says its issuer in its first line. A code is `HOW.NONCE.CHALLENGE`.
import { createHash, createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";

const own = generateKeyPairSync("rsa", { modulusLength: 2048 });
const foreign = generateKeyPairSync("rsa", { modulusLength: 2048 });
const secret = "secret-of-the-client";
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

const signed = (header, claims, how) => {
  const text = `${encoded(header)}.${encoded(claims)}`;
  if (header.alg === "none") return `${text}.`;
  if (header.alg === "HS256") return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  const { privateKey } = how === "key" ? foreign : own;
  return `${text}.${createSign("RSA-SHA256").update(text).sign(privateKey, "base64url")}`;
};

const idToken = (issuer, how, nonce) => {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: issuer, sub: "42", aud: "hubvault", iat: now, exp: now + 300, nonce,
    email: "eve@hub.example", email_verified: true, groups: ["hub-admins"],
  };
  const header = { alg: "RS256", kid: "own", typ: "JWT" };
  if (how === "issuer") claims.iss = "https://evil.example";
  if (how === "audience") claims.aud = "another";
  if (how === "audiences") claims.aud = ["hubvault", "another"];
  if (how === "expired") claims.exp = now - 60;
  if (how === "nonce") claims.nonce = "another";
  if (how === "no-nonce") delete claims.nonce;
  if (how === "none") header.alg = "none";
  if (how === "hmac") header.alg = "HS256";
  if (how === "no-groups") delete claims.groups;
  if (how === "odd-groups") claims.groups = { "hub-admins": true, name: ["hub-admins"] };
  if (how === "odd-name") claims.email = "<script>\u0007\n" + "x".repeat(500);
  if (how === "no-email") {
    claims.email_verified = false;
    claims.preferred_username = "ana@hub.example";
  }
  return signed(header, claims, how);
};

const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const json = (value, status = 200) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  const path = new URL(request.url, issuer).pathname;
  if (path === "/.well-known/openid-configuration") {
    json({
      issuer, authorization_endpoint: `${issuer}/auth`, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks`,
      response_types_supported: ["code"], subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: ["RS256", "HS256", "none"],
    });
  } else if (path === "/jwks") {
    json({ keys: [{ ...own.publicKey.export({ format: "jwk" }), kid: "own", use: "sig", alg: "RS256" }] });
  } else if (path === "/token") {
    const form = new URLSearchParams(body);
    const [how, nonce, challenge] = form.get("code").split(".");
    const proven = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
    if (how === "large") return response.end("x".repeat(4 << 20));
    if (how === "refused" || proven !== challenge) return json({ error: "invalid_grant" }, 400);
    json({ access_token: "a", token_type: "Bearer", id_token: idToken(issuer, how, nonce) });
  } else {
    json({ error: "not_found" }, 404);
  }
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(issuer);
