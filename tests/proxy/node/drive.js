// Drives one proxy server by toxiproxy-node-client, over all of its methods, and prints what came of each as JSON:
// node drive.js http://127.0.0.1:8474
"use strict";
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

const steps = [];
const NOBODY = "127.0.0.1:1";

// Ports are the system's choice: they are not compared.
function note(what, got) {
  const text = JSON.stringify(got === undefined ? null : got);
  steps.push([what, JSON.parse(text.replace(/127\.0\.0\.1:\d{4,5}/g, "127.0.0.1:port"))]);
}

async function refused(what, act) {
  await act().then(
    (got) => note(what, { done: got }),
    (error) => note(what, { error: error.name, message: error.message }),
  );
}

// What comes back for `text`, until the end or until as much came back; then how the connection ended.
function ask(listen, text) {
  const [host, port] = listen.split(":");
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), host);
    let got = "";
    socket.on("connect", () => socket.write(text));
    socket.on("data", (data) => {
      got += data;
      if (got.length >= text.length) socket.destroy();
    });
    socket.on("end", () => resolve({ got, end: "FIN" }));
    socket.on("error", (error) => resolve({ got, end: error.code }));
    socket.on("close", () => resolve({ got, end: "ours" }));
  });
}

async function proxies(toxiproxy, upstream) {
  note("version", JSON.parse(await toxiproxy.getVersion()).version);
  note("none", await toxiproxy.getAll().then(Object.keys));
  const made = await toxiproxy.createProxy({ name: "a", listen: "127.0.0.1:0", upstream });
  note("create", made.toJson());
  note("paths", [made.getHost() === toxiproxy.host, made.getPath().endsWith("/proxies/a")]);
  note("parent", made.getToxiproxy() === toxiproxy);
  note("traffic", await ask(made.listen, "hello"));
  note("get", (await toxiproxy.get("a")).toJson());
  note("disable", (await made.update({ enabled: false, listen: made.listen, upstream })).toJson());
  note("refused", await ask(made.listen, "hello"));
  const back = await made.update({ enabled: true });
  note("enable", back.toJson());
  note("same port", back.listen === made.listen);
  note("traffic again", await ask(made.listen, "hello"));
  note("elsewhere", (await made.update({ upstream: NOBODY })).toJson());
  note("nobody there", await ask(made.listen, ""));
  note("a name with a space", (await toxiproxy.createProxy({ name: "b c", listen: "127.0.0.1:0", upstream })).toJson());
  note("get it", (await toxiproxy.get("b c")).toJson());
  const all = await toxiproxy.getAll();
  note("all", Object.fromEntries(Object.entries(all).map(([name, proxy]) => [name, proxy.toJson()])));
  note("remove", await all["b c"].remove());
  await refused("gone", () => toxiproxy.get("b c"));
  await refused("remove twice", () => all["b c"].remove());
  await refused("taken", () => toxiproxy.createProxy({ name: "a", listen: "127.0.0.1:0", upstream }));
  await refused("no name", () => toxiproxy.createProxy({ listen: "127.0.0.1:0", upstream }));
  await refused("no upstream", () => toxiproxy.createProxy({ name: "d", listen: "127.0.0.1:0" }));
  await refused("no port", () => toxiproxy.createProxy({ name: "d", listen: "foo", upstream }));
  await refused("no body", () => toxiproxy.createProxy());
  note("others", await toxiproxy.getApi().get(`${toxiproxy.host}/proxies/a/toxics`));
  await refused("no such path", () => toxiproxy.getApi().get(`${toxiproxy.host}/nope`));
}

async function populate(toxiproxy, upstream) {
  const wanted = ["a", "e"].map((name) => ({ name, listen: "127.0.0.1:0", upstream }));
  const made = await toxiproxy.populate(wanted);
  note("populate", Object.fromEntries(Object.entries(made).map(([name, proxy]) => [name, proxy.toJson()])));
  note("populated", await ask(made.e.listen, "hello"));
  const same = wanted.map((entry) => ({ ...entry, listen: made[entry.name].listen }));
  const again = await toxiproxy.populate(same);
  note("populate again", Object.values(again).map((proxy) => proxy.listen === made[proxy.name].listen));
  await refused("populate nothing", () => toxiproxy.populate([]));
  await refused("populate nonsense", () => toxiproxy.populate([{ name: "f" }]));
  return made.a;
}

async function toxics(toxiproxy, proxy) {
  const bodies = [
    { type: "latency", attributes: { latency: 5, jitter: 2 } },
    { type: "bandwidth", attributes: { rate: 5000 } },
    { type: "slow_close", attributes: { delay: 1 }, stream: "upstream" },
    { type: "slicer", attributes: { average_size: 2, size_variation: 1, delay: 1 }, name: "cut up" },
    { type: "noop", attributes: {}, toxicity: 0.5 },
  ];
  for (const body of bodies) {
    const toxic = await proxy.addToxic(body);
    note(`add ${body.type}`, toxic.toJson());
    note("its path", toxic.getPath().endsWith(`/proxies/a/toxics/${toxic.name}`));
    note("get it", (await proxy.getToxic(toxic.name)).toJson());
  }
  note("through all", await ask(proxy.listen, "hello, hello"));
  const slow = await proxy.getToxic("latency_downstream");
  note("update", (await slow.update({ attributes: { latency: 1 }, toxicity: 0.25 })).toJson());
  note("update nothing", (await slow.update({})).toJson());
  await refused("taken", () => proxy.addToxic(bodies[0]));
  await refused("no such type", () => proxy.addToxic({ type: "nope", attributes: {} }));
  await refused("no such stream", () => proxy.addToxic({ type: "noop", stream: "sideways", attributes: {} }));
  await refused("no integer", () => proxy.addToxic({ type: "timeout", attributes: { timeout: 1.5 } }));
  await refused("no such toxic", () => proxy.getToxic("nobody"));
  note("remove", await slow.remove());
  await refused("removed", () => slow.remove());
  await refused("update what is gone", () => slow.update({}));
  note("reset", await toxiproxy.reset());
  note("none left", await toxiproxy.getApi().get(`${proxy.getPath()}/toxics`));
}

// A toxic that ends connections, alone; then it is removed. What an upstream limit_data has let through comes back
// or not, as the echo is faster than the close or not: it is left out.
async function endings(proxy) {
  const strong = [
    { type: "limit_data", stream: "downstream", attributes: { bytes: 3 } },
    { type: "timeout", stream: "downstream", attributes: { timeout: 50 } },
    { type: "timeout", stream: "upstream", attributes: { timeout: 50 } },
    { type: "reset_peer", stream: "downstream", attributes: { timeout: 0 } },
    { type: "reset_peer", stream: "upstream", attributes: { timeout: 0 } },
  ];
  for (const body of strong) {
    const toxic = await proxy.addToxic(body);
    note(`${body.type} ${body.stream}`, await ask(proxy.listen, "hello"));
    note("healed", await toxic.remove());
    note("as before", await ask(proxy.listen, "hello"));
  }
}

const echo = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.pipe(socket);
});
echo.listen(0, "127.0.0.1", async () => {
  const toxiproxy = new Toxiproxy(process.argv[2]);
  const upstream = `127.0.0.1:${echo.address().port}`;
  await proxies(toxiproxy, upstream);
  const proxy = await populate(toxiproxy, upstream);
  await toxics(toxiproxy, proxy);
  await endings(proxy);
  for (const left of Object.values(await toxiproxy.getAll())) await left.remove();
  await refused("all removed", () => toxiproxy.get("a"));
  process.stdout.write(JSON.stringify(steps), () => process.exit(0));
});
