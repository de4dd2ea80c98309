// The official client of OpenAI for JavaScript against a server.
// node openai.js CLIENT_FOLDER URL KEY FILE BAD_FILE
const fs = require('fs');
const path = require('path');
const [folder, url, apiKey, file, badFile] = process.argv.slice(2);
const OpenAI = require(path.join(folder, 'node_modules', 'openai'));
const client = new OpenAI({baseURL: `${url}/v1`, apiKey, maxRetries: 0});

const transcribe = (options) =>
  client.audio.transcriptions.create({file: fs.createReadStream(file), model: 'whisper-1', ...options});

// The class, the status and the code of the error that a request ends with.
const refusal = async (request) => {
  try {
    await request();
  } catch (error) {
    return [error.constructor.name, error.status, error.code];
  }
  return null;
};

(async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  const deltas = [];
  let done = null;
  for await (const event of await transcribe({stream: true})) {
    if (event.type === 'transcript.text.delta') deltas.push(event.delta);
    else done = event.text;
  }
  const stranger = new OpenAI({baseURL: `${url}/v1`, apiKey: `${apiKey}-wrong`, maxRetries: 0});
  console.log(JSON.stringify({
    models,
    deltas,
    done,
    json: await transcribe({}),
    verbose: await transcribe({
      response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'],
    }),
    srt: await transcribe({response_format: 'srt'}),
    refusals: [
      await refusal(() => stranger.models.list()),
      await refusal(() => client.models.retrieve('nothing')),
      await refusal(() => transcribe({file: fs.createReadStream(badFile)})),
      await refusal(() => transcribe({temperature: 3})),
    ],
  }));
})();
