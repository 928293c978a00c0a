// npm ws: the broadcast of its README. ws.js PORT REDIS_SOCKET
'use strict';

const { createServer } = require('http');
const { createClient } = require('redis');
const { WebSocket, WebSocketServer } = require('ws');

async function main(port, path) {
  const subscriber = createClient({ socket: { path } });
  await subscriber.connect();
  const server = createServer();
  const wss = new WebSocketServer({ server });
  wss.on('connection', (ws) => ws.on('error', console.error));
  await subscriber.subscribe('room', (message) => {
    wss.clients.forEach((client) => {
      if (client.readyState === WebSocket.OPEN) client.send(message);
    });
  });
  server.listen({ port, host: '127.0.0.1', backlog: 4096 });
}

main(Number(process.argv[2]), process.argv[3]);
