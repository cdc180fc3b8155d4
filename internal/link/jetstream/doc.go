// Package jetstream is the carrier for members that cannot map acquire's slab: their pixels travel through NATS.
//
// The link's own packets stay what they are: offers, releases, heartbeats, claims, numbered and repeated. This carrier adds
// the pixels. In front of acquire's door ([Listen]) it holds back the offers to such a member until their pixels are on
// their way; at the member ([Carrier]) it puts them together again in memory of the member's own.
//
//	dispatch ─ offers ─▶ sender ─ pixels ─▶ stream (DiscardNew) ─▶ pool ─▶ frames     lossless groups
//	                       │    └ pixels ─▶ plain subject ───────▶ pool               latest groups
//	                       └──── offers, once the pixels are stored ─▶ member
//
// # What bounds it
//
// A member says how many frames it has memory for; no more than that many are on their way to it or in its hands. The
// bytes of all frames that were published and not released are counted against the stream's MaxBytes before the first of
// a frame's parts is published, so the stream never refuses the rest of a frame, and no parts of half a frame stay in it.
// What has no room waits in the slab, which is how the run's budget, and its policy, come to know.
//
// # What may be lost
//
// The slot in the slab is held until the member's release, which a writer gives for durable frames alone. So the stream
// is a way and no store: what it loses, with a server, a disk or a member, is published again from the slab, when the
// publish fails, when the member says that pixels are missing, or when the frame goes to another member.
package jetstream
