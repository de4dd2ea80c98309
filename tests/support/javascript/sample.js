// The sample of docs/protocol.md, as it is written there, with the official client.
// node sample.js CLIENT_FOLDER URL PCM_FILE SAMPLE_FILE
const fs = require('fs');
const path = require('path');
const [folder, url, pcmFile, sampleFile] = process.argv.slice(2);
const client = require(path.join(folder, 'node_modules', 'socket.io-client'));

const shown = [];
const sockets = [];
const io = (address, options) => {
  const socket = client.io(address.replace('https://host', url), options);
  sockets.push(socket);
  socket.on('finished', (data) => {
    console.log(JSON.stringify({shown, finished: data}));
    socket.disconnect();
  });
  return socket;
};
const base64OrBinary = fs.readFileSync(pcmFile);
const show = (text, isFinal) => shown.push([text, isFinal]);
new Function('io', 'base64OrBinary', 'show', fs.readFileSync(sampleFile, 'utf8'))(
  io, base64OrBinary, show);
