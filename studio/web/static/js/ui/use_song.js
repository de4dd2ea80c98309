/** The song of a page: its jobs and its files, as they change. */
import { useEffect, useState } from "preact/hooks";
import { ApiError, jsonWhenFree } from "../data/api.js";
import { returns } from "../data/connection.js";
import { keep } from "../data/deletions.js";
import { refresh, watch } from "../data/jobs.js";
import { songOf } from "../data/songs.js";

const LOOK_EVERY_MS = 10_000;

/**
 * @typedef {object} OpenSong
 * @property {import("../data/songs.js").Song} song
 * @property {any} files the answer of /files, or null
 * @property {string} error
 */

/** @param {string} id @returns {OpenSong} */
export function useSong(id) {
  const [song] = useState(() => songOf(id));
  const [files, setFiles] = useState(/** @type {any} */ (null));
  const [error, setError] = useState("");
  const status = song.status.value;
  const completed = (status?.jobs ?? []).filter((/** @type {any} */ job) => job.status === "completed");
  const made = completed.map((/** @type {any} */ job) => job.job_id).join();

  useEffect(() => keep(id), [id]);
  useEffect(() => watch(song), [song]);
  // The server reports jobs, but not that a file was deleted.
  useEffect(() => {
    const look = () => {
      if (!document.hidden && !song.isGone.value) void refresh(song);
    };
    const timer = setInterval(look, LOOK_EVERY_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [song]);

  useEffect(() => {
    if (status === null) return undefined;
    const request = new AbortController();
    const { signal } = request;
    jsonWhenFree(`/files/${id}`, { signal }).then(
      (answer) => {
        setFiles(answer);
        setError("");
      },
      (problem) => {
        if (signal.aborted) return;
        if (!(problem instanceof ApiError)) throw problem;
        if (problem.code !== "offline") setError(problem.message);
      },
    );
    return () => request.abort();
  }, [id, made, status === null, returns.value]);

  return { song, files, error };
}

/** The transcript among the files, or undefined. @param {any} files */
export function transcriptOf(files) {
  return files.tracks.find((/** @type {any} */ track) => track.track === "transcription");
}
