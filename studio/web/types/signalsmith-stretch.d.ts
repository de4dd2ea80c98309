/** The package has no types; these are the methods that the studio calls. */
export interface StretchNode extends AudioNode {
  schedule(change: { active?: boolean; semitones?: number }): Promise<void>;
  latency(): Promise<number>;
}

declare const SignalsmithStretch: {
  (context: AudioContext, options?: AudioWorkletNodeOptions): Promise<StretchNode>;
  /** The module that the worklet loads; else a blob, which the policy of the page forbids. */
  moduleUrl?: string;
};

export default SignalsmithStretch;
