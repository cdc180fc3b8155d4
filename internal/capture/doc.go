// Package capture runs a camera: it answers the control service, arms runs, moves frames from the camera into the
// slab inside the byte budget, and ends runs in order.
//
//	idle ──arm──▶ arming ──▶ waiting ──start──▶ running ◀──▶ paused
//	  ▲                                            │           │
//	  └──────────── finished ◀── draining ◀────────┴───────────┘
//
// A Controller is one camera's; a session is one run of it. The session's camera loop (loop.go) is the only place
// that decides what becomes of a frame for which there is no room.
package capture
