/** The jobs of songs: they are started, followed until they end, and canceled. */
import { effect } from "@preact/signals";
import { ApiError, isOffline, json, send } from "./api.js";
import { returns } from "./connection.js";
import { keep } from "./deletions.js";
import { isLive, subscribe } from "./jobs_socket.js";

/** @typedef {import("./songs.js").Song} Song */

/** Between requests while the server does not report jobs by itself. */
const POLL_MS = 1000;
/** Songs that are shown together are subscribed to together. */
const GATHER_MS = 50;

/** @type {Set<Song>} with jobs that have not ended */
const active = new Set();
/** @type {Map<Song, number>} songs on the screen, and how many parts of the page show them */
const shown = new Map();
let gathering = 0;
let polling = 0;
let requests = 0;
/** @type {WeakMap<Song, number>} the latest request for the state of a song that was answered */
const answered = new WeakMap();

/** @param {any} job */
const isUnfinished = (job) => job.status === "queued" || job.status === "processing";

/** The jobs that have not ended, the first one first. @param {any} status @returns {any[]} */
export function unfinished(status) {
  return (status?.jobs ?? []).filter(isUnfinished).reverse();
}

/** @param {any} status */
export function isActive(status) {
  return unfinished(status).length > 0;
}

/** Follow a song while it is on the screen, until the returned function is called. @param {Song} song */
export function watch(song) {
  shown.set(song, (shown.get(song) ?? 0) + 1);
  // The server reports the jobs of a song as soon as it is subscribed to.
  if (song.status.value === null || !isLive.value) void refresh(song);
  else gather();
  return () => {
    const others = (shown.get(song) ?? 1) - 1;
    if (others > 0) shown.set(song, others);
    else shown.delete(song);
    gather();
  };
}

/** Get the state of a song, and follow its jobs until they end. @param {Song} song */
export async function refresh(song) {
  const request = ++requests;
  try {
    const status = await json(`/status/${song.id}`);
    if (isOvertaken(song, request)) return;
    song.status.value = status;
    song.error.value = "";
    song.isGone.value = false;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (isOvertaken(song, request)) return;
    if (error.status === 404) song.isGone.value = true;
    if (error.code !== "offline") song.error.value = error.message;
  }
  noteActivity(song);
}

/** Whether a later request was answered before this one. @param {Song} song @param {number} request */
function isOvertaken(song, request) {
  if (request < (answered.get(song) ?? 0)) return true;
  answered.set(song, request);
  return false;
}

/** @param {Song} song */
function noteActivity(song) {
  if (isActive(song.status.value) && !song.isGone.value) active.add(song);
  else active.delete(song);
  gather();
}

function gather() {
  clearTimeout(gathering);
  gathering = setTimeout(() => {
    // The server refuses all files if it does not know one of them.
    const known = followed().filter((song) => song.status.value !== null && !song.isGone.value);
    void subscribe(known.map((song) => song.id), { onJob, onRefused: refreshAll });
  }, GATHER_MS);
  poll();
}

function poll() {
  clearTimeout(polling);
  if (active.size === 0) return;
  polling = setTimeout(() => {
    if (!isLive.value && !isOffline.value) for (const song of active) void refresh(song);
    poll();
  }, POLL_MS);
}

function followed() {
  return [...new Set([...active, ...shown.keys()])];
}

function refreshAll() {
  for (const song of followed()) void refresh(song);
}

// The events that were sent meanwhile are lost.
effect(() => {
  if (returns.value > 0) refreshAll();
});

/** @param {any} job the data of an event */
function onJob(job) {
  for (const song of followed()) {
    if (song.id !== job.file_id || song.status.value === null) continue;
    const before = song.status.value.jobs.find((/** @type {any} */ one) => one.job_id === job.job_id);
    song.status.value = withJob(song.status.value, job);
    // Which tracks there are, and whether the file itself is gone.
    if (!isUnfinished(job) && before?.status !== job.status) void refresh(song);
    noteActivity(song);
  }
}

/** A status in which one job is new or has changed. @param {any} status @param {any} job */
function withJob(status, job) {
  const isKnown = status.jobs.some((/** @type {any} */ one) => one.job_id === job.job_id);
  const jobs = isKnown
    ? status.jobs.map((/** @type {any} */ one) => (one.job_id === job.job_id ? job : one))
    : [job, ...status.jobs];
  const { status: state, stage, progress, place, eta_s, error } = jobs[0];
  return { ...status, jobs, status: state, stage, progress, place, eta_s, error };
}

/**
 * @param {Song} song
 * @param {string} model
 * @param {object} [options]
 * @returns {Promise<any>} the job; null if it was refused
 */
export function start(song, model, options = {}) {
  keep(song.id);
  return attempt(song, () => send(`/process/${model}/${song.id}`, options));
}

/** Separate a song, and write down what is sung. @param {Song} song @param {boolean} hasStems */
export async function startLyrics(song, hasStems) {
  keep(song.id);
  await attempt(song, async () => {
    if (!hasStems) await send(`/process/demucs/${song.id}`, {});
    await send(`/process/whisper/${song.id}`, { source: "vocals" });
  });
}

/** @param {Song} song */
export async function cancel(song) {
  await attempt(song, () => send(`/cancel/${song.id}`, {}));
}

/** @template T @param {Song} song @param {() => Promise<T>} work @returns {Promise<T | null>} */
async function attempt(song, work) {
  song.refusal.value = "";
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    song.refusal.value = error.message;
    return null;
  } finally {
    await refresh(song);
  }
}
