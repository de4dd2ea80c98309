/**
 * Plays all stems of a song in sync: one media element with two channels for each stem, whose
 * channels are split, levelled, and mixed again. Separate elements would drift apart.
 */
import { effect } from "@preact/signals";
import { KeyShift } from "./key_shift.js";
import { MediaPlayer } from "./media_player.js";

/** Levels change over this time, so that nothing clicks. */
const GLIDE_S = 0.02;
/** A loop jumps back this much before its end, about a frame of the screen. */
const LOOP_EARLY_S = 0.01;

export class StemPlayer extends MediaPlayer {
  /**
   * @param {any} stems the file with all stems, as in the answer of /files
   * @param {import("../data/mix.js").Mix} mix
   */
  constructor({ formats: { flac, wav }, duration_s: durationS }, mix) {
    super((flac ?? wav).url, durationS);
    this.mix = mix;
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.master = this.context.createGain();
    this.keyShift = new KeyShift(this.context, this.master);
    /** @type {AnalyserNode[]} one for each stem, after its level */
    this.meters = [];
    this._connect();
    this._samples = new Float32Array(256);
    /** @type {(() => void)[]} */
    this._effects = [
      effect(() => {
        this.media.playbackRate = mix.speed.value;
        // Reloading a file resets its speed to the default.
        this.media.defaultPlaybackRate = mix.speed.value;
      }),
      effect(() => this.keyShift.set(mix.key.value)),
    ];
  }

  _connect() {
    const { context, mix } = this;
    const source = context.createMediaElementSource(this.media);
    const splitter = context.createChannelSplitter(2 * mix.stems.length);
    source.connect(splitter);
    for (const stem of mix.stems) {
      const pair = context.createChannelMerger(2);
      splitter.connect(pair, 2 * stem.index, 0);
      splitter.connect(pair, 2 * stem.index + 1, 1);
      const gain = context.createGain();
      const panner = context.createStereoPanner();
      const meter = context.createAnalyser();
      meter.fftSize = 2048;
      pair.connect(gain).connect(panner).connect(meter).connect(this.master);
      this.meters.push(meter);
      effect(() => void gain.gain.setTargetAtTime(mix.gain(stem), context.currentTime, GLIDE_S / 3));
      effect(() => void panner.pan.setTargetAtTime(stem.pan.value, context.currentTime, GLIDE_S / 3));
    }
  }

  _listen() {
    super._listen();
    // A tab in the background draws no frames.
    this.media.addEventListener("timeupdate", () => this.followLoop());
    this.media.addEventListener("ended", () => {
      if (this.mix.hasLoop) void this.play(this.mix.loopFrom.value);
    });
  }

  /** Seconds of the song that are heard now. */
  get positionS() {
    return Math.max(0, this.timeS - this.keyShift.latencyS * this.media.playbackRate);
  }

  /** @param {number} [fromS] */
  async play(fromS) {
    // Safari allows both only in the task of the click, and iOS may keep the context waiting.
    this.context.resume().catch(() => {});
    await super.play(fromS);
  }

  /** Go back to the start of the loop at its end; on time if it is called for every frame. */
  followLoop() {
    const { loopFrom, loopTo } = this.mix;
    if (!this.mix.hasLoop || !this.isPlaying.value) return;
    if (this.timeS >= loopTo.value - LOOP_EARLY_S) this.seek(loopFrom.value);
  }

  /** The level of a stem, 0 to 1. @param {number} index */
  level(index) {
    const meter = this.meters[index];
    if (!meter) return 0;
    meter.getFloatTimeDomainData(this._samples);
    let most = 0;
    for (const sample of this._samples) most = Math.max(most, Math.abs(sample));
    return Math.min(1, most);
  }

  close() {
    for (const stop of this._effects) stop();
    super.close();
    void this.context.close();
  }
}
