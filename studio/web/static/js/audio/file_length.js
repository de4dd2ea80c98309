/** How long a sound file is, found without decoding all of it. */

const LONGEST_LOOK_MS = 10_000;
/** Later than any end: where it is sought, a browser finds the end. */
const FAR_S = 1e9;

/** The seconds in a file, or NaN if the browser does not find out. @param {File} file @returns {Promise<number>} */
export async function lengthOf(file) {
  const media = new Audio();
  const url = URL.createObjectURL(file);
  try {
    return await new Promise((resolve) => {
      setTimeout(() => resolve(NaN), LONGEST_LOOK_MS);
      media.onerror = () => resolve(NaN);
      media.ondurationchange = () => {
        if (Number.isFinite(media.duration)) resolve(media.duration);
        // Recordings of browsers do not contain their length.
        else media.currentTime = FAR_S;
      };
      media.preload = "metadata";
      media.src = url;
    });
  } finally {
    media.onerror = null;
    media.removeAttribute("src");
    media.load();
    URL.revokeObjectURL(url);
  }
}
