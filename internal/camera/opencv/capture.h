// A narrow C interface to cv::VideoCapture: gocv has no parameters for open, no result of grab and no retrieve,
// and an exception that passes through it ends the process.
#ifndef SLUICE_CAPTURE_H
#define SLUICE_CAPTURE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_capture sluice_capture;

// Opens uri by the given backend with n pairs of property and value. NULL on failure; why is then a text,
// perhaps an empty one.
sluice_capture *sluice_open(const char *uri, int api, const int *params, int n, char *why, int why_size);
// Takes in the next frame. 0 when there is none.
int sluice_grab(sluice_capture *c);
// Decodes the frame taken in last into mat, a cv::Mat*. 0 when that fails.
int sluice_retrieve(sluice_capture *c, void *mat);
double sluice_get(sluice_capture *c, int prop);
void sluice_close(sluice_capture *c);

// Writes mat's samples into dst, channel by channel, blue, green, red as red, green, blue. With grey set only the
// first channel is written. 0 unless mat has that size and that many bytes in all.
int sluice_planes(void *mat, int rows, int cols, int grey, uint8_t *dst, int64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
