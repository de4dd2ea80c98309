/** Music that was made in this browser: prompts, sent as text files, and their jobs. */
import { signal } from "@preact/signals";
import { cleanUp, json, received, request, send } from "./api.js";
import { refresh, start } from "./jobs.js";
import { add, songOf } from "./songs.js";
import { store, stored } from "./stored.js";

const KEY = "studio.tunes";
const MAX_NAME_CHARACTERS = 60;

/** @typedef {{ song: import("./songs.js").Song, prompt: string }} Tune */

/** @type {import("@preact/signals").Signal<Tune[]>} newest first */
export const tunes = signal(kept());

/** @returns {Tune[]} */
function kept() {
  try {
    return JSON.parse(stored(KEY) ?? "[]").map(made);
  } catch {
    return [];
  }
}

/** @param {{ id: string, prompt: string }} record @returns {Tune} */
function made({ id, prompt }) {
  return { song: { ...songOf(id), name: prompt }, prompt };
}

/** @param {Tune[]} changed */
function keep(changed) {
  tunes.value = changed;
  store(KEY, JSON.stringify(changed.map(({ song, prompt }) => ({ id: song.id, prompt }))));
}

// Another tab changed the list.
addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  const known = new Map(tunes.value.map((tune) => [tune.song.id, tune]));
  tunes.value = kept().map((tune) => known.get(tune.song.id) ?? tune);
});

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
  keep([tune, ...tunes.value]);
  await refresh(tune.song);
}

/** Delete a tune here and on the server; throws ApiError. @param {Tune} tune */
export async function discard(tune) {
  if (!tune.song.isGone.value) await request(`/cleanup/${tune.song.id}`, { method: "DELETE" });
  keep(tunes.value.filter((one) => one !== tune));
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
