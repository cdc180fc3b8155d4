package doors_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds each wait of these tests.
const patience = 2 * time.Minute

// roles are the users of deploy/nats.conf.
var roles = []string{"acquire", "writer", "analyze", "monitor", "operator"}

// broker is a NATS server with exactly deploy/nats.conf, but for the port.
type broker struct {
	t       *testing.T
	url     string
	secrets string
}

func start(t *testing.T) *broker {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(conf, text, 0o600); err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, secrets: filepath.Join(dir, "secrets")}
	for range 2 { // what is there is kept
		if out, err := exec.CommandContext(t.Context(), "../../deploy/passwords", b.secrets).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
	}
	opts, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the broker does not start")
	}
	b.url = s.ClientURL()
	return b
}

// file is where a role's password is.
func (b *broker) file(role string) string { return filepath.Join(b.secrets, role+".password") }

// as are the options of a role.
func (b *broker) as(role string) []string {
	return []string{"--nats", b.url, "--nats-user", role, "--nats-password-file", b.file(role)}
}

// connect connects as the role's processes do.
func (b *broker) connect(role string) *nats.Conn {
	b.t.Helper()
	nc, err := bus.Connect(b.t.Context(), bus.Options{Role: role, Process: "test", NATS: config.NATS{
		NATS: b.url, NATSUser: role, NATSPassFile: b.file(role), ConnectTimeout: patience,
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	b.t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// eventually waits as long as these tests wait for anything.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	programs.Eventually(t, patience, what, yes)
}
