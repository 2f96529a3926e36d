/**
 * A client of a real edge, for tests/integration/test_typescript_client.py: `node real.ts URL TRANSPORT`. Says what it
 * sees as JSON lines; a line on stdin is a container to restart; ends with its stdin.
 */

import { connect, type Transport } from "../src/index.ts";

/** As much of Node as this needs: the client's types are a browser's. */
interface Node {
  readonly argv: readonly string[];
  readonly stdin: {
    on(event: "data", handler: (chunk: unknown) => void): void;
    on(event: "end", run: () => void): void;
  };
  readonly stdout: { write(text: string): void };
}

declare const process: Node;

const [, , url = "", transport = "websocket"] = process.argv;
const client = connect({ url, transports: [transport as Transport], pollIntervalMs: 200 });

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

client.onStatus(({ state, transport, session, latencyMs }) => {
  say({ saw: "status", state, transport, user: session?.user ?? null, measured: latencyMs !== null });
});
client.subscribe("hosts", ({ hosts }) => say({ saw: "hosts", hosts: hosts.map(({ host }) => host) }));
client.subscribe("metrics:web-1", ({ epoch, seq, data }) =>
  say({ saw: "metrics", epoch, seq, percent: data.cpu.percent }),
);
client.subscribe("events", ({ host, name, at }) => say({ saw: "event", host, name, late: client.now() - at }));
process.stdin.on("data", (chunk) => {
  const handle = client.act({ host: "web-1", containerId: String(chunk).trim(), action: "restart", expiresInSec: 1 });
  handle.onAck(({ status }) => say({ saw: "ack", status }));
  void handle.outcome.then((outcome) => say({ saw: "outcome", status: outcome.status, code: outcome.code }));
});
process.stdin.on("end", () => client.close());
