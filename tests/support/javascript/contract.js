// Runs the contract of docs/protocol.md with the official client and prints what happened as JSON.
// node contract.js CLIENT_FOLDER URL TRANSPORT PCM_FILE
const fs = require('fs');
const path = require('path');
const [folder, url, transport, pcmFile] = process.argv.slice(2);
const {io} = require(path.join(folder, 'node_modules', 'socket.io-client'));

const CHUNK_BYTES = 8000;
const events = [];
const waiting = [];
const pcm = fs.readFileSync(pcmFile);

const socket = io(`${url}/transcribe`, {transports: [transport], reconnection: true});
for (const name of ['connect', 'disconnect', 'connected', 'configured', 'transcription', 'error',
  'finished', 'lagging']) {
  socket.on(name, (data) => {
    events.push([name, data === undefined ? null : data]);
    for (const wanted of waiting.splice(0)) wanted();
  });
}
socket.on('connect_error', (error) => fail(`connect_error: ${error.message}`));
const end = setTimeout(() => fail('it took too long'), 180000);

function fail(message) {
  console.log(JSON.stringify({failure: message, events}));
  process.exit(1);
}

// Resolves once the event has come `times` times.
async function until(name, times = 1) {
  while (events.filter(([known]) => known === name).length < times) {
    await new Promise((resolve) => waiting.push(resolve));
  }
}

function say(data) {
  for (let at = 0; at < data.length; at += CHUNK_BYTES) {
    const part = data.subarray(at, at + CHUNK_BYTES);
    // Text and binary in turns.
    const sent = at / CHUNK_BYTES % 2 ? part.toString('base64') : part;
    socket.emit('audio', {payload: {data: sent, mimeType: 'audio/pcm;rate=16000'}});
  }
}

(async () => {
  await until('connected');
  const ack = await socket.emitWithAck('audio', {payload: {data: pcm.subarray(0, CHUNK_BYTES)}});
  say(pcm.subarray(CHUNK_BYTES));
  socket.emit('audio', {payload: {data: 'no base64!'}});
  socket.emit('finish');
  await until('finished');
  await socket.emitWithAck('configure', {language: 'en', words: false});
  await socket.emitWithAck('keepalive');
  say(pcm);
  socket.emit('finish');
  await until('finished', 2);
  clearTimeout(end);
  const used = socket.io.engine.transport.name;
  console.log(JSON.stringify({ack, transport: used, events}));
  socket.disconnect();
})();
