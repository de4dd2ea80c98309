/** Clicks on the beats of a song while it plays, at any speed. */

/** Clicks are scheduled this long before they are heard, and looked for this often. */
const AHEAD_S = 0.3;
const LOOK_MS = 100;
// As in the track `click` of the server.
const LENGTH_S = 0.05;
const DOWNBEAT_HZ = 1500;
const BEAT_HZ = 1000;
const LEVEL = 0.5;

/** @typedef {{ time_s: number, beat: number }} Beat `beat` is 1 on the first of a bar */

export class Metronome {
  /** @param {import("./stem_player.js").StemPlayer} player */
  constructor(player) {
    this.player = player;
    /** @type {Beat[]} */
    this.beats = [];
    this._bus = this._newBus();
    this._scheduledToS = 0;
    this._restart = () => {
      this._bus.disconnect();
      this._bus = this._newBus();
      this._scheduledToS = player.media.currentTime;
    };
    for (const name of ["seeking", "pause", "play", "ratechange"]) player.media.addEventListener(name, this._restart);
    this._timer = setInterval(() => this._look(), LOOK_MS);
  }

  _newBus() {
    const bus = this.player.context.createGain();
    bus.connect(this.player.context.destination);
    return bus;
  }

  _look() {
    const { media, mix, isPlaying } = this.player;
    if (!isPlaying.value || media.seeking) return;
    const endS = media.currentTime + AHEAD_S * media.playbackRate;
    const beginS = Math.max(this._scheduledToS, media.currentTime);
    if (mix.click.value > 0) {
      for (const beat of this.beats) {
        if (beat.time_s >= beginS && beat.time_s < endS) this._click(beat);
      }
    }
    this._scheduledToS = Math.max(endS, this._scheduledToS);
  }

  /** @param {Beat} beat */
  _click(beat) {
    const { context, media, mix, keyShift } = this.player;
    const inS = (beat.time_s - media.currentTime) / media.playbackRate;
    // The song itself is late by as much.
    const startS = context.currentTime + inS + keyShift.latencyS;
    const tone = context.createOscillator();
    tone.frequency.value = beat.beat === 1 ? DOWNBEAT_HZ : BEAT_HZ;
    const envelope = context.createGain();
    envelope.gain.setValueAtTime(LEVEL * mix.click.value, startS);
    envelope.gain.exponentialRampToValueAtTime(0.001, startS + LENGTH_S);
    tone.connect(envelope).connect(this._bus);
    tone.start(startS);
    tone.stop(startS + LENGTH_S);
  }

  close() {
    clearInterval(this._timer);
    for (const name of ["seeking", "pause", "play", "ratechange"]) {
      this.player.media.removeEventListener(name, this._restart);
    }
  }
}
