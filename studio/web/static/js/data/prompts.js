/** Prompts for music: examples, and what a model with a closed vocabulary understands. */

/** @typedef {import("./models.js").Variant} Variant */

export const EXAMPLES = [
  "calm piano and soft strings, like rain on a window",
  "80s synth pop with a driving beat and bright pads",
  "acoustic folk with fingerpicked guitar and hand claps",
  "lo-fi hip hop, mellow electric piano, vinyl crackle",
  "orchestral film music that builds to a heroic finale",
];

export const EXAMPLES_OF_MINI = [
  "a slow piano tune in a minor key, low register, with drums",
  "happy guitar, fast tempo, high register, without drums",
  "a sad piece for low organ at a moderate tempo, without drums",
];

/** The phrases of each subject that the bundled model was trained on. */
export const PHRASES = {
  instrument: ["piano", "organ", "guitar", "synth"],
  tempo: ["slow", "moderate", "fast"],
  mood: ["happy", "sad"],
  register: ["low register", "middle register", "high register"],
  drums: ["with drums", "without drums"],
};

/**
 * The words of a prompt that a variant does not know.
 * @param {string} prompt
 * @param {Variant | undefined} variant
 */
export function unknownWords(prompt, variant) {
  const known = variant?.words;
  if (!known) return [];
  const words = prompt.normalize("NFKC").match(/[\p{L}\p{N}_]+/gu) ?? [];
  return [...new Set(words.filter((word) => !known.includes(word.toLowerCase())))];
}

/**
 * A prompt with a phrase, in place of another one of its subject; without the phrase, if it was there.
 * @param {string} prompt
 * @param {keyof typeof PHRASES} subject
 * @param {string} phrase
 */
export function withPhrase(prompt, subject, phrase) {
  if (hasPhrase(prompt, phrase)) return tidy(prompt.replace(wordsOf(phrase), ""));
  const other = PHRASES[subject].find((one) => hasPhrase(prompt, one));
  if (other) return prompt.replace(wordsOf(other), phrase);
  return tidy(`${prompt}, ${phrase}`);
}

/** @param {string} prompt @param {string} phrase */
export function hasPhrase(prompt, phrase) {
  return wordsOf(phrase).test(prompt);
}

/** @param {string} phrase */
function wordsOf(phrase) {
  return new RegExp(`\\b${phrase}\\b`, "i");
}

/** Without commas that separate nothing. @param {string} prompt */
function tidy(prompt) {
  return prompt.split(",").map((part) => part.trim().replace(/\s+/g, " ")).filter(Boolean).join(", ");
}
