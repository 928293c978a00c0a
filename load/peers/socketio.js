// socket.io with its Redis adapter; events are emitted by another process, in the protocol of
// @socket.io/redis-emitter. socketio.js PORT REDIS_SOCKET
'use strict';

const { createServer } = require('http');
const { createAdapter } = require('@socket.io/redis-adapter');
const { createClient } = require('redis');
const { Server } = require('socket.io');

async function main(port, path) {
  const publisher = createClient({ socket: { path } });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const server = createServer();
  new Server(server, { adapter: createAdapter(publisher, subscriber) });
  server.listen({ port, host: '127.0.0.1', backlog: 4096 });
}

main(Number(process.argv[2]), process.argv[3]);
