/** Plays a copy of a file that the browser cannot play itself. */
import { ApiError, request } from "../data/api.js";

/** @type {number[]} */
const UNPLAYABLE = [MediaError.MEDIA_ERR_DECODE, MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED];

/**
 * Switch to the copy once, at the same position, if the browser cannot play the file.
 * @param {import("./media_player.js").MediaPlayer} player
 * @param {string} url of the copy
 */
export function playCopyIfNeeded(player, url) {
  const { media } = player;
  const original = media.src;
  const onError = async () => {
    if (!UNPLAYABLE.includes(media.error?.code ?? 0)) return;
    player.hasFailed.value = false;
    const canSwitch = await isThere(original);
    // The page was left, or the file is loaded again.
    if (media.src !== original || !media.error) return;
    if (!canSwitch) {
      player.hasFailed.value = true;
      return;
    }
    media.removeEventListener("error", onError);
    const atS = player.timeS;
    const wasPlaying = !media.paused;
    media.src = url;
    player.seek(atS);
    if (wasPlaying) void player.play();
  };
  media.addEventListener("error", onError);
}

/** Whether the server has the file: browsers report its errors as a file that they cannot play. @param {string} url */
async function isThere(url) {
  try {
    await request(url, { method: "HEAD" });
    return true;
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}
