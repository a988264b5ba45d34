// toxiproxy-node-client through its main flows. Usage: node_client.mjs API_URL; the package is found by NODE_PATH.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";

const require = createRequire(process.env.NODE_PATH + "/");
const { Toxiproxy } = require("toxiproxy-node-client");

const PATIENCE = 10_000;
const echo = net.createServer((socket) => socket.on("error", () => {}).pipe(socket));
await new Promise((listening) => echo.listen(0, "127.0.0.1", listening));
const upstream = `127.0.0.1:${echo.address().port}`;

/** The echo of one word over a connection of its own: what came until all of it had, or the peer closed. */
const ask = (address, word = "hello") => new Promise((resolve, reject) => {
  const [host, port] = address.split(":");
  const socket = net.connect(Number(port), host, () => socket.write(word));
  let got = "";
  socket.setTimeout(PATIENCE, () => socket.destroy(new Error("no answer")));
  socket.on("data", (piece) => {
    got += piece;
    if (got.length >= word.length) socket.end();
  });
  socket.on("close", (failed) => { if (!failed) resolve(got); });
  socket.on("error", reject);
});

const server = new Toxiproxy(process.argv[2]);
assert.equal(typeof await server.getVersion(), "string");
for (const left of Object.values(await server.getAll())) await left.remove();

const proxy = await server.createProxy({ name: "echo", listen: "127.0.0.1:0", upstream });
assert.equal(proxy.enabled, true);
assert.equal(proxy.upstream, upstream);
assert.match(proxy.listen, /^127\.0\.0\.1:[1-9]\d*$/);
assert.equal(await ask(proxy.listen), "hello");
await assert.rejects(server.createProxy({ name: "echo", listen: "127.0.0.1:0", upstream }), /409/);
await assert.rejects(server.get("nobody"), /404/);

const { listen } = proxy;
await proxy.update({ enabled: false, listen, upstream });
await assert.rejects(ask(listen), { code: "ECONNREFUSED" });
await proxy.update({ enabled: true, listen, upstream });
assert.equal(await ask(listen), "hello");

const toxic = await proxy.addToxic({
  name: "slow", type: "latency", stream: "downstream", toxicity: 1, attributes: { latency: 200, jitter: 0 },
});
assert.deepEqual(toxic.attributes, { latency: 200, jitter: 0 });
const begun = performance.now();
assert.equal(await ask(listen), "hello");
assert.ok(performance.now() - begun >= 199);
await toxic.update({ attributes: { latency: 1, jitter: 0 }, toxicity: 0.5 });
const changed = await proxy.getToxic("slow");
assert.deepEqual([changed.attributes.latency, changed.toxicity], [1, 0.5]);
await changed.remove();
await assert.rejects(proxy.getToxic("slow"), /404/);
await assert.rejects(proxy.addToxic({ name: "x", type: "nonsense", stream: "upstream", toxicity: 1, attributes: {} }), /400/);

await proxy.addToxic({ name: "cap", type: "limit_data", stream: "downstream", toxicity: 1, attributes: { bytes: 3 } });
assert.equal(await ask(listen), "hel");
await server.reset();
assert.equal(await ask(listen), "hello");

const populated = await server.populate([
  { name: "echo", listen, upstream },
  { name: "second", listen: "127.0.0.1:0", upstream },
]);
assert.deepEqual(Object.keys(populated).sort(), ["echo", "second"]);
assert.equal(await ask(populated.second.listen), "hello");
for (const left of Object.values(await server.getAll())) await left.remove();
assert.deepEqual(await server.getAll(), {});
echo.close();
console.log("toxiproxy-node-client: every flow");
