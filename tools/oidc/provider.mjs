// An identity provider for the tests: npm's oidc-provider, which knows two people and asks them nothing.
// Usage: node provider.mjs DIRECTORY REDIRECT; the directory has its node_modules. Says its issuer in its first line.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const [directory, redirect] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${directory}/node_modules/oidc-provider/lib/index.js`));

const people = {
  ana: { email: "ana@hub.example", email_verified: true, groups: ["everybody", "hub-admins"] },
  bob: { email: "bob@hub.example", email_verified: true, groups: ["everybody"] },
};
// Who logs in next, and in which groups: a test changes it by POST /next.
let next = { who: "ana" };

const server = createServer();
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: "hubvault", client_secret: "secret-of-the-client", redirect_uris: [redirect] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "email", "groups"],
  // The ID token itself has the claims.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  cookies: { keys: ["only for tests"] },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, ...people[id], ...next.claims }),
  }),
});
const answer = provider.callback();

server.on("request", async (request, response) => {
  try {
    if (request.method === "POST" && request.url === "/next") {
      let text = "";
      for await (const part of request) text += part;
      next = JSON.parse(text);
      response.end("ok");
    } else if (request.url.startsWith("/interaction/")) {
      const { params, session } = await provider.interactionDetails(request, response);
      const accountId = session?.accountId ?? next.who;
      const grant = new provider.Grant({ accountId, clientId: params.client_id });
      grant.addOIDCScope(params.scope);
      const consent = { grantId: await grant.save() };
      await provider.interactionFinished(request, response, { login: { accountId }, consent });
    } else {
      answer(request, response);
    }
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
});
console.log(issuer);
