/** Music that was made in this browser: prompts, sent as text files, and their jobs. */
import { cleanUp, json, received, request, send } from "./api.js";
import { refresh, start } from "./jobs.js";
import { KeptList } from "./kept_list.js";
import { add, songOf } from "./songs.js";

const MAX_NAME_CHARACTERS = 60;

/** @typedef {{ song: import("./songs.js").Song, prompt: string }} Tune */

/** @type {KeptList<Tune>} newest first */
const kept = new KeptList("studio.tunes", {
  idOf: ({ song }) => song.id,
  made,
  recordOf: ({ song, prompt }) => ({ id: song.id, prompt }),
});
export const tunes = kept.items;

/** @param {{ id: string, prompt: string }} record @returns {Tune} */
function made({ id, prompt }) {
  return { song: { ...songOf(id), name: prompt }, prompt };
}

/**
 * Start a job; throws ApiError.
 * @param {string} prompt
 * @param {object} options of `POST /process/musicgen`
 */
export async function make(prompt, options) {
  const { file_id: id } = await upload(new File([prompt], `${fileName(prompt)}.txt`));
  try {
    await send(`/process/musicgen/${id}`, options);
  } catch (error) {
    cleanUp(id);
    throw error;
  }
  const tune = made({ id, prompt });
  kept.change((list) => [tune, ...list]);
  await refresh(tune.song);
}

/** Delete a tune here and on the server; throws ApiError. @param {Tune} tune */
export async function discard(tune) {
  if (!tune.song.isGone.value) await request(`/cleanup/${tune.song.id}`, { method: "DELETE" });
  kept.change((list) => list.filter((one) => one.song.id !== tune.song.id));
}

/**
 * Make a song of a track of music, start its separation, and return its ID; throws ApiError.
 * @param {Tune} tune
 * @param {string} track
 */
export async function separate(tune, track) {
  const answer = await request(`/download/${tune.song.id}/${track}?format=flac`);
  const name = `${fileName(tune.prompt)}${track.replace("music", "").replace("_", " ")}.flac`;
  const song = add(await upload(new File([await received(answer.blob())], name)));
  await start(song, "demucs");
  return song.id;
}

/** @param {File} file @returns {Promise<any>} */
function upload(file) {
  const form = new FormData();
  form.append("file", file);
  return json("/upload", { method: "POST", body: form });
}

/** A file name that says what is asked for. @param {string} prompt */
function fileName(prompt) {
  const words = prompt.replace(/[^\p{L}\p{N} -]/gu, " ").split(/\s+/).filter(Boolean).join(" ");
  return [...words].slice(0, MAX_NAME_CHARACTERS).join("").trim() || "music";
}
