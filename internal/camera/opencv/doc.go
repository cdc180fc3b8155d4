// Package opencv has the cameras that OpenCV opens: video files, Video4Linux devices and live URLs. It needs the
// build tag opencv; without it the package is empty but for the checks of containers.
//
// # What comes out
//
// Colour is (c, y, x) uint8 in the order R, G, B. A device's or a video's grey stays grey: (y, x). OpenCV hands
// over 8 bits per sample whatever a video has; a device may deliver 16 in grey.
//
// # Timestamps
//
// OpenCV gives no hardware timestamps. DeviceNS is the presentation time of the stream since its beginning
// (CAP_PROP_POS_MSEC, from FFmpeg), for V4L2 the driver's timestamp of the buffer; where that does not advance,
// the time of arrival does instead. A video file that is paced (fps above 0) has the times of an ideal clock.
//
// # Files
//
// A file is finite and can pause. Its containers' own account of its length is held against the file's size when it is
// opened (RIFF, MP4, Matroska), and its first frame is decoded, so that a truncated or unreadable file is an error before
// the run. OpenCV does not tell a damaged frame from the end: a video that ends before 90 % of the frames that it
// announces has failed ([camera.ErrFailed]), else it has ended (io.EOF).
//
// # Live sources
//
// Devices and URLs can't stop. One goroutine grabs from Open to Close, so that no queue of a driver or socket
// fills; what arrives before Start is thrown away. From Start on it numbers the frames as they arrive; one that finds
// all buffers of the ring taken is lost, and shows as a jump of the frame ids. What FFmpeg or the network lost before
// is not known to OpenCV: for UDP expect damaged pictures, not jumps. A stream that ends, or is silent for
// longer than the read timeout, has failed.
package opencv
