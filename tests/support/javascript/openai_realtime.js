// The official client of OpenAI for JavaScript and a server's Realtime API.
// node openai_realtime.js CLIENT_FOLDER URL KEY FILE, which is 16-bit PCM at 24 kHz, in one turn
const fs = require('fs');
const path = require('path');
const [folder, url, apiKey, file] = process.argv.slice(2);
const packages = path.join(folder, 'node_modules');
const OpenAI = require(path.join(packages, 'openai'));
const {OpenAIRealtimeWS} = require(path.join(packages, 'openai/realtime/ws.js'));
const CHUNK_BYTES = 4800;
const TRANSCRIPTION = 'conversation.item.input_audio_transcription';

const client = new OpenAI({baseURL: `${url}/v1`, apiKey});
const connection = new OpenAIRealtimeWS({intent: 'transcription'}, client);
const deltas = [];

const fail = (error) => {
  console.error(error);
  process.exit(1);
};

connection.on('error', fail);
connection.on('session.created', () => connection.send({
  type: 'session.update',
  session: {
    type: 'transcription',
    audio: {input: {turn_detection: null, transcription: {model: 'whisper-1', language: 'en'}}},
  },
}));
connection.on('session.updated', () => {
  const sound = fs.readFileSync(file);
  for (let start = 0; start < sound.length; start += CHUNK_BYTES) {
    const audio = sound.subarray(start, start + CHUNK_BYTES).toString('base64');
    connection.send({type: 'input_audio_buffer.append', audio});
  }
  connection.send({type: 'input_audio_buffer.commit'});
});
connection.on(`${TRANSCRIPTION}.delta`, (event) => deltas.push(event.delta));
connection.on(`${TRANSCRIPTION}.completed`, (event) => {
  console.log(JSON.stringify({deltas, text: event.transcript}));
  connection.close();
});
