// The same in Node: `ws` as its documentation shows a broadcast, `redis` to subscribe.
//
//     PORT=... REDIS_SOCKET=... REDIS_CHANNEL=... node node_app.mjs

import { createClient } from "redis";
import { WebSocket, WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT), path: "/ws", backlog: 4096 });
server.on("connection", (socket) => {
  socket.on("error", () => socket.terminate());
});

const redis = createClient({ socket: { path: process.env.REDIS_SOCKET } });
redis.on("error", (error) => {
  console.error(String(error));
  process.exit(1);
});
await redis.connect();

// As bytes: a text would be encoded anew for every client.
const asBytes = true;
await redis.subscribe(
  process.env.REDIS_CHANNEL,
  (message) => {
    for (const socket of server.clients) {
      if (socket.readyState === WebSocket.OPEN) {
        socket.send(message, { binary: false });
      }
    }
  },
  asBytes,
);
