package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/bus"
)

// Place is where the broker of one camera says how to reach it. DIR/CAMERA.json holds a bus.Endpoint;
// DIR/CAMERA.lock is locked while the broker lives, and stays empty and in place for ever, since removing a
// lock file lets two processes lock two files of one name.
type Place struct {
	dir    string
	camera string
}

// At is the place of a camera in the runtime folder.
func At(dir, camera string) Place { return Place{dir: dir, camera: camera} }

// File is the path of the endpoint's file.
func (p Place) File() string { return filepath.Join(p.dir, p.camera+".json") }

// LogFile is the log of the camera's detached run, the newest one; its earlier part has ".1" at the end.
func (p Place) LogFile() string { return filepath.Join(p.dir, p.camera+".log") }

// RunFile says what the camera's newest detached run is and how it ended. It is locked while the run's process lives.
func (p Place) RunFile() string { return filepath.Join(p.dir, p.camera+".run") }

func (p Place) lockFile() string { return filepath.Join(p.dir, p.camera+".lock") }

// Claim takes the place for this process, for as long as the returned file stays open. Where another live
// process has it, the error wraps ErrHeld.
func (p Place) Claim() (*os.File, error) {
	f, err := os.OpenFile(p.lockFile(), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claiming camera %s: %w", p.camera, err)
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile())
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES):
		err = fmt.Errorf("%w: %s", ErrHeld, p.camera)
		if e, readErr := bus.ReadEndpoint(p.File()); readErr == nil {
			err = fmt.Errorf("%w (its broker is process %d)", err, e.PID)
		}
	default:
		err = fmt.Errorf("claiming camera %s: %w", p.camera, err)
	}
	return nil, errors.Join(err, f.Close())
}

// wholeFile asks for a file's write lock. Locks of open files, unlike flock, can be looked at without taking
// them: looking never gets in a broker's way.
func wholeFile() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK, Whence: 0} }

// Live reports whether a live broker has the place.
func (p Place) Live() (bool, error) {
	f, err := os.OpenFile(p.lockFile(), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a broker: %w", err)
	}
	defer f.Close()
	lock := wholeFile()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, lock); err != nil {
		return false, fmt.Errorf("looking for a broker: %w", err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// Write replaces the endpoint's file as one step. Only who has claimed the place may do it.
func (p Place) Write(e bus.Endpoint) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing %s: %w", p.File(), err)
	}
	temp := p.File() + ".new"
	// What is there is of a broker that died while it wrote: the claim says that nobody else does.
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("writing %s: %w", p.File(), err)
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", p.File(), err)
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", p.File(), err), os.Remove(temp))
	}
	if err := os.Rename(temp, p.File()); err != nil {
		return fmt.Errorf("writing %s: %w", p.File(), err)
	}
	return nil
}

// Remove removes the endpoint's file. Only who has claimed the place may do it.
func (p Place) Remove() error {
	if err := os.Remove(p.File()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the broker's file: %w", err)
	}
	return nil
}

// Find looks for the broker of a local run of the camera, or with an empty name of the only one there is, and
// returns the path of its file. What dead brokers left behind is passed over.
func Find(dir, camera string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return "", fmt.Errorf("looking for local runs: %w", err)
	}
	var cameras []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		live, err := At(dir, name).Live()
		if err != nil {
			return "", err
		}
		if live && (camera == "" || camera == name) {
			cameras = append(cameras, name)
		}
	}
	switch {
	case len(cameras) == 1:
		return At(dir, cameras[0]).File(), nil
	case len(cameras) > 1:
		return "", fmt.Errorf("%w: of the cameras %s: name one", ErrSeveral, strings.Join(cameras, ", "))
	case camera != "":
		return "", fmt.Errorf("%w of camera %s on this machine: give --nats URL to look elsewhere", ErrNone, camera)
	}
	return "", fmt.Errorf("%w on this machine: give --nats URL to look elsewhere", ErrNone)
}
