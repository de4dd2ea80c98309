/** A recording of the live page: a source of sound, and the session that it goes to. */
import { computed, effect, signal } from "@preact/signals";
import { FileTooLong, MAX_FILE_MINUTES, openFile, openMicrophone } from "../audio/sound_input.js";
import { t } from "../words.js";
import { LiveSession } from "./live_session.js";
import { keepScreenOn } from "./screen_on.js";

/** @typedef {import("../audio/sound_input.js").SoundInput} SoundInput */
/** @typedef {{ variant: string, language: string | null }} Settings */

export class Recording {
  /** @param {import("./live_text.js").LiveText} text */
  constructor(text) {
    this._text = text;
    this.problem = signal("");
    /** Whether a call or another program has the microphone, so that nothing is heard. */
    this.isInterrupted = signal(false);
    this.session = signal(/** @type {LiveSession | null} */ (null));
    this._isOpening = signal(false);
    this.isBusy = computed(() => this._isOpening.value || (this.session.value?.state.value ?? "ended") !== "ended");
    this.isEnding = signal(false);
    /** @type {SoundInput | null} */
    this._input = null;
    /** @type {(() => void) | null} */
    this._letScreenGo = null;
    effect(() => {
      const session = this.session.value;
      if (session?.isFull.value) {
        this.problem.value = t("live.full");
        void this.finish();
      }
      if (session?.state.value === "ended") void this._release();
    });
  }

  /** Begin with the microphone. @param {Settings} settings */
  async listen(settings) {
    if (!navigator.mediaDevices) {
      this.problem.value = t("live.insecure");
      return;
    }
    const end = () => {
      this.problem.value = t("live.microphone.ended");
      void this.finish();
    };
    await this._begin(
      settings,
      (onSamples) => openMicrophone(onSamples, end, (isInterrupted) => this._interrupt(isInterrupted)),
      (error) => t("live.denied", { reason: error instanceof Error ? error.message : String(error) }),
    );
  }

  /** Begin with a file. @param {File} file @param {Settings} settings */
  async play(file, settings) {
    await this._begin(
      settings,
      (onSamples) => openFile(file, onSamples, () => void this.finish()),
      (error) =>
        error instanceof FileTooLong
          ? t("live.long", { name: file.name, minutes: MAX_FILE_MINUTES })
          : t("live.undecodable", { name: file.name }),
    );
  }

  /**
   * @param {Settings} settings
   * @param {(onSamples: import("../audio/sound_input.js").OnSamples) => Promise<SoundInput>} open
   * @param {(error: unknown) => string} explain
   */
  async _begin(settings, open, explain) {
    this.problem.value = "";
    this.isEnding.value = false;
    this._isOpening.value = true;
    const beginS = this._text.endS > 0 ? Math.max(this._text.endS, this.session.value?.endS.value ?? 0) : 0;
    /** @type {LiveSession | null} */
    let session = null;
    try {
      const input = await open((samples, rateHz) => session?.send(samples, rateHz));
      // A microphone may be granted, and a file decoded, after the recording has been stopped.
      if (this.isEnding.value) {
        await input.stop();
        return;
      }
      this._input = input;
      session = new LiveSession(settings, this._text, beginS);
      this.session.value = session;
      this._letScreenGo = keepScreenOn();
    } catch (error) {
      this.problem.value = explain(error);
    } finally {
      this._isOpening.value = false;
    }
  }

  /** @param {boolean} isInterrupted */
  _interrupt(isInterrupted) {
    this.isInterrupted.value = isInterrupted;
    if (isInterrupted && this.session.value) this.session.value.level.value = 0;
  }

  /** Stop the source, and wait for the last words. */
  async finish() {
    this.isEnding.value = true;
    await this._stopInput();
    this.session.value?.finish();
  }

  async _release() {
    this._letScreenGo?.();
    this._letScreenGo = null;
    await this._stopInput();
  }

  async _stopInput() {
    const input = this._input;
    this._input = null;
    this.isInterrupted.value = false;
    await input?.stop();
  }
}
