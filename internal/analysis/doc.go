// Package analysis is the work of an analyser process: it takes frames from the link, computes spectra of them
// (package spectrum) and publishes them.
//
//	link.Receiver ──▶ Analyzer.Run ──▶ session: tile means of every frame ──▶ outbox ──▶ combiner ──▶ .spectrum.temporal
//	                                      └──▶ imager: a frame now and then ──▶ .spectrum.spatial, .preview
//
// # Members and the combiner
//
// Each member of the group computes the means of the frames that it gets. One member, which acquire names in
// the link's armed message, combines them: the others send theirs to it, in numbered-by-seq batches (Batch) by
// request and reply on sluice.CAMERA.link.combine.MEMBER, and repeat what is not acknowledged. In a lossless
// group a frame is released only when the combiner has acknowledged its means. When the combiner dies, acquire
// names another, which begins with what it is sent from then on: the coverage says what is missing. One that is
// replaced while it lives hands what it remembers to its successor.
//
// # The end
//
// At the run's end every member sends what it has and a mark that it is done. The combiner then publishes the
// final temporal spectrum: when it has seen every captured frame, or every member it knows is done, or nothing
// has come for a while.
//
// # Results and the store
//
// The analyser writes no file: it may run on another host than the store. The primary writer subscribes to
// sluice.CAMERA.spectrum.* and appends each message, which is one line of JSON, to STORE/analysis/spatial.jsonl
// or STORE/analysis/temporal.jsonl, by the last token of the subject. The final temporal spectrum is sent as a
// request: whoever has stored it answers with any message. It is repeated until it is answered, for five
// seconds at most; a repeat has the same process and n, by which the writer knows it.
//
// docs/analysis.md describes the messages.
package analysis
