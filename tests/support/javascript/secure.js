// The calls of the user's document, over wss with a certificate that nobody vouches for.
// node secure.js CLIENT_FOLDER URL PCM_FILE
const fs = require('fs');
const path = require('path');
const [folder, url, pcmFile] = process.argv.slice(2);
const {io} = require(path.join(folder, 'node_modules', 'socket.io-client'));

const texts = [];
let connects = 0;
const socket = io(`${url.replace('https:', 'wss:')}/transcribe`, {
  transports: ['websocket', 'polling'],
  rejectUnauthorized: false,
});
socket.on('connect', () => { connects += 1; });
socket.on('transcription', (data) => texts.push(data.transcription));
socket.on('error', (data) => { console.error(data.message); process.exit(1); });
socket.on('finished', (data) => {
  console.log(JSON.stringify({connects, texts, finished: data}));
  socket.disconnect();
});
socket.emit('audio', {
  payload: {data: fs.readFileSync(pcmFile).toString('base64'), mimeType: 'audio/pcm;rate=16000'},
});
socket.emit('finish');
