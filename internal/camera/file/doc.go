// Package file plays files as a camera, in pure Go: Y4M videos, PNG and TIFF images, and folders of images.
//
// # What comes out
//
//	Y4M Cmono                            (y, x) uint8
//	Y4M Cmono9, 10, 12, 14, 16           (y, x) uint16, the significant bits as named
//	Y4M C420 (jpeg, mpeg2, paldv), C422, C444   (c, y, x) uint8, RGB
//	PNG, TIFF grey                       (y, x) uint8, or uint16 where it has 16 bits
//	PNG, TIFF colour                     (c, y, x) uint8, or uint16 where it has 16 bits; palettes are resolved;
//	                                     an alpha channel is left out, colours stay as they are stored
//
// YCbCr becomes RGB by ITU-R BT.601, limited range (16 to 235 and 16 to 240) unless the header says
// XCOLORRANGE=FULL, rounded to the nearest and clipped. A chroma sample serves all pixels that it was taken from,
// without interpolation. Interlaced frames stay as they are stored. Grey PNGs and TIFFs of fewer than 8 bits
// are stretched to 8. A TIFF file of several pages is as many frames.
//
// # What is checked when it is opened
//
// Every frame's header and extent: a truncated file, images of unequal size or sample type, a folder without
// images and a format that can't be read are errors before the first frame. Images are ordered by name,
// numbers in names by their value; other files and sub-folders are ignored.
//
// # Clock
//
// The rate is that of the key fps, else the file's own; at 0 frames come as fast as they are taken. Device
// timestamps are those of an ideal clock of that rate; at fps=0 those of the file's own timeline where it has one
// (a pause is then no gap: none is missing in it), else the time of the Grab.
package file
