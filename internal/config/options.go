package config

import (
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"
)

// Common are the options of every command.
type Common struct {
	Config    string           `name:"config" placeholder:"FILE.yaml" help:"Read options from this YAML file: the flags' names without the dashes as keys. Flags and SLUICE_… variables win over it."`
	LogLevel  LogLevel         `name:"log-level" default:"info" placeholder:"LEVEL" help:"The least that is logged: debug, info, warn or error (${default})."`
	LogFormat LogFormat        `name:"log-format" default:"text" placeholder:"text|json" help:"The form of log lines, which go to stderr (${default})."`
	Version   kong.VersionFlag `name:"version" help:"Print the version and exit."`
}

// NATS says how to reach the broker.
type NATS struct {
	NATS           string        `name:"nats" placeholder:"URL" help:"The NATS server to use, nats://HOST:PORT; several with commas between them."`
	NATSUser       string        `name:"nats-user" placeholder:"NAME" help:"The user at the NATS server; the password is in --nats-password-file, or in the environment."`
	NATSPassword   string        `name:"nats-password" hidden:"" help:"The user's password; on a command line it is refused."`
	NATSPassFile   string        `name:"nats-password-file" placeholder:"FILE" help:"A file with the user's password in its first line, read at each connection."`
	NATSCreds      string        `name:"nats-creds" placeholder:"FILE" help:"A NATS credentials file."`
	NATSNKey       string        `name:"nats-nkey" placeholder:"FILE" help:"A file with the seed of a NATS user's NKey."`
	NATSCA         string        `name:"nats-ca" placeholder:"FILE" help:"The certificates (PEM) that the NATS server's must be signed by; with it, --nats-cert or --nats-server-name, TLS is a must."`
	NATSCert       string        `name:"nats-cert" placeholder:"FILE" help:"A certificate (PEM) to show the NATS server, with --nats-key."`
	NATSKey        string        `name:"nats-key" placeholder:"FILE" help:"The key (PEM) of --nats-cert."`
	NATSServerName string        `name:"nats-server-name" placeholder:"NAME" help:"The name that the NATS server's certificate must have (default: the one in the URL)."`
	NATSInbox      string        `name:"nats-inbox-prefix" placeholder:"PREFIX" help:"Where answers go, of which the NATS server may keep others away (default: _INBOX. and the role: acquire, writer, analyze, operator, monitor)."`
	NATSFile       string        `name:"nats-file" placeholder:"FILE" hidden:"" help:"The file in which a local run's own broker says how to reach it."`
	ConnectTimeout time.Duration `name:"connect-timeout" default:"10s" placeholder:"TIME" help:"How long to try to reach the NATS server at first (${default})."`
}

// Validate refuses credentials that contradict each other.
func (n NATS) Validate() error {
	ways := 0
	for _, given := range []bool{n.NATSUser != "", n.NATSCreds != "", n.NATSNKey != ""} {
		if given {
			ways++
		}
	}
	password := n.NATSPassword != "" || n.NATSPassFile != ""
	switch {
	case ways > 1:
		return errors.New("--nats-user, --nats-creds and --nats-nkey are three ways to say who one is: give one")
	case n.NATSPassword != "" && n.NATSPassFile != "":
		return errors.New("--nats-password-file: the environment or the configuration has a password already")
	case password != (n.NATSUser != ""):
		return errors.New("--nats-user goes with a password, and a password with --nats-user")
	case (n.NATSCert == "") != (n.NATSKey == ""):
		return errors.New("--nats-cert and --nats-key go together")
	}
	return nil
}

// Metrics says where a process shows its numbers.
type Metrics struct {
	Metrics Address `name:"metrics" placeholder:"HOST:PORT" help:"Serve metrics for Prometheus at http://HOST:PORT/metrics, and /healthz; a port alone is one of 127.0.0.1 (default: no listener)."`
}

// Camera names the camera.
type Camera struct {
	Camera Name `name:"camera" default:"cam0" placeholder:"NAME" help:"The camera's name: a NATS subject token and part of paths (${default})."`
}

// Link are the times of the connection between acquire and its members.
type Link struct {
	Heartbeat time.Duration `name:"heartbeat" default:"1s" placeholder:"TIME" help:"How often each end of a link says that it lives (${default})."`
	HungAfter time.Duration `name:"hung-after" default:"5s" placeholder:"TIME" help:"A member that is silent for this long counts as hung (${default})."`
}

// Validate refuses times that contradict each other.
func (l Link) Validate() error {
	if l.HungAfter < 2*l.Heartbeat {
		return fmt.Errorf("--hung-after: %s is less than two heartbeats of %s", l.HungAfter, l.Heartbeat)
	}
	return nil
}

// Streams are how acquire reaches members on other hosts.
type Streams struct {
	Way      Way           `name:"link" default:"auto" placeholder:"auto|shm|jetstream" help:"Which members may join: auto and jetstream let in those of other hosts, whose pixels go through JetStream, shm only those of this host (${default})."`
	Bytes    ByteSize      `name:"stream-bytes" default:"256MiB" placeholder:"SIZE" help:"The limit on the bytes of frames on their way to members with the policy lossless on other hosts, and in their hands: the stream's MaxBytes (${default})."`
	Storage  Storage       `name:"stream-storage" default:"memory" placeholder:"memory|file" help:"Where the broker keeps the stream (${default})."`
	Replicas Replicas      `name:"stream-replicas" default:"1" placeholder:"1|3|5" help:"On how many servers of a cluster the stream lies (${default})."`
	Lost     time.Duration `name:"lost-after" default:"15s" placeholder:"TIME" help:"A member of another host that is silent for this long counts as dead: its shards go to others (${default})."`
}

// LocalStreams are the options of an acquire whose members are all on its host. hung is its --hung-after.
func LocalStreams(hung time.Duration) Streams {
	return Streams{Way: WaySlab, Bytes: 256 << 20, Storage: StorageMemory, Replicas: 1, Lost: 3 * hung}
}

// LocalMember is a member of that name on acquire's host.
func LocalMember(name string) Member {
	return Member{Way: WaySlab, Receive: 64 << 20, Name: Name(name)}
}

// Member is what a writer or an analyser calls itself, and how it gets its pixels.
type Member struct {
	Way      Way      `name:"link" default:"auto" placeholder:"auto|shm|jetstream" help:"How pixels come: out of acquire's slab, through JetStream, or auto, by JetStream where the slab can't be opened (${default})."`
	Receive  ByteSize `name:"receive-buffer" default:"64MiB" placeholder:"SIZE" help:"Memory for frames that come through JetStream; two frames at least (${default})."`
	Name     Name     `name:"name" placeholder:"NAME" help:"This process's name among the camera's members (default: its group and process id; in a container, where that is 1, its group and the container's host name)."`
	Restarts int      `name:"restarts" hidden:"" help:"How often a supervisor has started this process again."`
}

// Capture is what a run is to be: the options of acquire that a run is armed with.
type Capture struct {
	Source      string        `name:"source" placeholder:"URI" help:"Where frames come from: sim:?width=&height=&dtype=&fps=&pattern=…, file:PATH; with OpenCV also v4l2:DEVICE and video:URL."`
	Frames      Count         `name:"frames" placeholder:"N" xor:"end" help:"End after the camera has produced this many frames."`
	Duration    time.Duration `name:"duration" placeholder:"TIME" xor:"end" help:"End after this time."`
	Budget      ByteSize      `name:"budget" placeholder:"SIZE" help:"The limit on the bytes of frames captured and not yet released (default: two seconds at the nominal rate, within 256MiB and a quarter of the free memory; 512MiB where the rate is unknown)."`
	OnFull      OnFull        `name:"on-full" placeholder:"pause|drop|fail" help:"What to do when the budget is full: stop the source, lose the newest frame to the ledger, or end the run in order (default: pause where the source can, else drop)."`
	ShardFrames Count         `name:"shard-frames" placeholder:"K" help:"Frames in one shard file (default: 512MiB of them, at most 2 x budget / writers, at most 4096)."`
	Compress    Compress      `name:"compress" default:"none" placeholder:"none|zstd|blosc-zstd[:LEVEL]" help:"How chunks are compressed; zstd's levels are 1 to 22, blosc-zstd's (for 16-bit pixels) 1 to 9, 1 where none is named (${default})."`
	PixelSize   Length        `name:"pixel-size" placeholder:"LENGTH" help:"The edge of a pixel, such as 0.65um, for the store's metadata."`
	Meta        Meta          `name:"meta" placeholder:"KEY=VALUE" help:"Metadata for the store; may be given several times."`
	Store       string        `name:"store" placeholder:"NAME" help:"The store's folder name below the writers' root (default: CAMERA_TIME_ID.ome.zarr)."`
	Force       bool          `name:"force" help:"Start although the disk has less free space than the run will need."`

	AnalyzePolicy AnalyzePolicy `name:"analyze-policy" default:"latest" placeholder:"latest|lossless" help:"Whether the analysers get the newest frames that they can keep up with, or every frame (${default})."`
	Reserve       Count         `name:"latest-reserve" placeholder:"N" help:"Slots of the budget that belong to the groups with the policy latest (default: one for the newest frame and one for each required analyser)."`
	ReclaimAfter  time.Duration `name:"reclaim-after" default:"2s" placeholder:"TIME" help:"A frame that a member with the policy latest holds for longer is taken from it (${default})."`
	Require       []Requirement `name:"require" default:"writer" placeholder:"GROUP[=N]" help:"Groups that must have a member, or N, before a run starts; several with commas between them (${default})."`
	MemberTimeout time.Duration `name:"member-timeout" default:"10s" placeholder:"TIME" help:"How long to wait for the required groups (${default})."`
	StallAfter    time.Duration `name:"stall-after" placeholder:"TIME" help:"A camera that sends nothing for this long has stalled (default: 5s or ten frames' time, whichever is more)."`
	DrainTimeout  time.Duration `name:"drain-timeout" default:"60s" placeholder:"TIME" help:"How long a stopped run may take to write what it has, counted from the last byte that moved (${default})."`
}

// Validate refuses a store name that is a path, and too much metadata.
func (c Capture) Validate() error {
	if err := c.Meta.check(); err != nil {
		return fmt.Errorf("--meta: %w", err)
	}
	if c.Store == "" {
		return nil
	}
	if err := checkStoreName(c.Store); err != nil {
		return fmt.Errorf("--store: %w", err)
	}
	return nil
}

// Analysis is what the analysers compute.
type Analysis struct {
	Window        Window        `name:"window" default:"hann" placeholder:"hann|none" help:"The window of the spatial spectrum; the temporal spectrum's segments always have Hann's (${default})."`
	Tiles         Grid          `name:"tiles" default:"8x8" placeholder:"ROWSxCOLUMNS" help:"The grid whose mean values make the temporal spectra (${default})."`
	Segment       Count         `name:"segment" placeholder:"N" help:"Frames in one segment of the temporal spectrum, an even number (default: a power of two of about two seconds)."`
	SpectrumEvery time.Duration `name:"spectrum-every" default:"1s" placeholder:"TIME" help:"How often spectra are published, at most every 50ms (${default})."`
	SpectrumOf    SpectrumOf    `name:"spectrum-of" default:"newest" placeholder:"newest|all" help:"Whether a spatial spectrum is computed of one frame, the newest, each time one is published, or of every frame that an analyser gets (${default})."`
	Workers       Count         `name:"spectrum-workers" placeholder:"N" help:"Spatial spectra that an analyser computes at a time, 4 to 5 bytes of memory a pixel each (default: 1; of all frames one less than there are processors)."`
	Share         float64       `name:"spectrum-share" placeholder:"PART" help:"The part of its time that such a worker works at most, 0.01 to 1 (default: 0.5; of all frames 1)."`
	Preview       bool          `name:"preview" default:"true" negatable:"" help:"Publish preview images, at most 512 pixels wide and 5 a second (${default})."`
}

// Validate refuses segments that have no spectrum.
func (a Analysis) Validate() error {
	if n := a.Segment; n != 0 && (n < 16 || n > 8192 || n%2 != 0) {
		return fmt.Errorf("--segment: %d frames are not an even number from 16 to 8192", n)
	}
	if a.SpectrumEvery < 50*time.Millisecond {
		return fmt.Errorf("--spectrum-every: %s: want 50ms at least", a.SpectrumEvery)
	}
	if a.Workers > 64 {
		return fmt.Errorf("--spectrum-workers: %d: want 1 to 64", a.Workers)
	}
	if s := a.Share; s != 0 && !(s >= 0.01 && s <= 1) {
		return fmt.Errorf("--spectrum-share: %v: want 0.01 to 1", s)
	}
	return nil
}
