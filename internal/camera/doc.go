// Package camera has the sources of frames. A camera knows nothing of slabs, budgets or links: it hands over
// one frame at a time and says what it knows about it.
//
// # Source URIs
//
//	source   = scheme ":" path [ "?" key "=" value { "&" key "=" value } ]
//	scheme   = "sim" | "file" | "v4l2" | "video"
//
// Keys and values are percent-decoded; the path is taken as it is. A key may stand once. The last "?" ends the
// path, so a path with a "?" of its own is written with another "?" after it. Everything after "video:" is the
// URL, which has its own "?": that scheme has no keys. Whole numbers may be given in decimal or, after 0x, in
// hexadecimal; rates and other real numbers are plain numbers without a unit; switches are true or false.
//
// sim: simulates a camera. It has no path.
//
//	width, height     pixels, 1 or more; 2048 each
//	dtype             uint8 or uint16 (uint16)
//	fps               frames per second, 0: as fast as frames are taken (30)
//	pattern           counter, hash, wave or noise (noise); package sim has the formulas
//	free              true: the camera produces on schedule whatever happens, it cannot pause (false)
//	ring              frames that a free-running camera keeps for a late consumer (16)
//	seed              of hash and noise, 64 bits (0)
//	mean              wave: level in counts (a quarter of the largest value)
//	at, hz            wave: temporal amplitude relative to mean (0.2) and its frequency in hertz (1)
//	as, kx, ky        wave: spatial amplitude relative to mean (0.2), periods across the width (4) and height (2)
//	idbits, skipzero  width of the frame id, 16, 32 or 64 (64); true: ids begin at 1 and never are 0 (false)
//	missevery         N: every N-th frame is lost in the camera, N at least 2 (0: none)
//	incompleteevery   N: every N-th frame arrives with parts missing (0: none)
//	stallat           N: after N frames none comes any more (0: never)
//	failat            N: after N frames the camera fails (0: never)
//
// file: plays a file, or a folder's images in natural order (2 before 10).
//
//	loop              true: begins again at its end (false)
//	fps               frames per second; 0: as fast as frames are taken (the file's own rate; 0 where it has none)
//
// A Y4M video, PNG and TIFF images and folders of them are read in pure Go; any other video needs a build with
// OpenCV.
//
// v4l2: opens a Video4Linux device, such as v4l2:/dev/video0, in a build with OpenCV.
//
//	width, height     pixels to ask the device for (its own choice)
//	fps               frames per second to ask the device for (its own choice)
//
// video: opens a live URL (udp, rtsp, http: whatever FFmpeg opens), such as video:udp://127.0.0.1:5000, in a
// build with OpenCV.
package camera
