package doors_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds each wait of these tests.
const patience = 2 * time.Minute

// roles are the users of deploy/nats.conf.
var roles = []string{"acquire", "writer", "analyze", "monitor", "operator"}

// broker is a NATS server with exactly deploy/nats.conf, but for the port and where its folders are.
type broker struct {
	t       *testing.T
	url     string
	secrets string
	ca      string // who has signed its certificate, empty where it has none
	way     way
}

// start starts a broker. A secure one has the lines for TLS. by is how its users show who they are.
func start(t *testing.T, by way, secure bool) *broker {
	t.Helper()
	dir := t.TempDir()
	b := &broker{t: t, secrets: filepath.Join(dir, "secrets"), way: by}
	text := b.configuration(dir, secure)
	conf := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is there is kept
		if out, err := exec.CommandContext(t.Context(), "../../deploy/passwords", b.secrets).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
	}
	opts, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	b.identify(opts)
	if opts.JetStreamMaxMemory <= 0 || opts.JetStreamMaxStore <= 0 {
		t.Errorf("JetStream may take %d bytes of memory and %d of the disk: that is no bound", opts.JetStreamMaxMemory, opts.JetStreamMaxStore)
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

// configuration is deploy/nats.conf with its folders in dir.
func (b *broker) configuration(dir string, secure bool) string {
	b.t.Helper()
	bytes, err := os.ReadFile("../../deploy/nats.conf")
	if err != nil {
		b.t.Fatal(err)
	}
	text := string(bytes)
	replace := func(old, by string) {
		if !strings.Contains(text, old) {
			b.t.Fatalf("deploy/nats.conf has no %q", old)
		}
		text = strings.ReplaceAll(text, old, by)
	}
	replace(`"/tmp/nats"`, strconv.Quote(filepath.Join(dir, "jetstream")))
	if !secure {
		return text
	}
	ca := bustest.NewAuthority(b.t)
	cert, key := ca.Certify(b.t)
	b.ca = ca.File
	begin := strings.Index(text, "\n#tls {\n")
	end := begin + strings.Index(text[max(begin, 0):], "\n#}\n") + len("\n#}\n")
	if begin < 0 || end < begin {
		b.t.Fatal("deploy/nats.conf has no marked lines for TLS")
	}
	text = text[:begin] + strings.ReplaceAll(text[begin:end], "\n#", "\n") + text[end:]
	replace("/etc/nats/secrets/tls.crt", cert)
	replace("/etc/nats/secrets/tls.key", key)
	return text
}

// file is where a role's secret is.
func (b *broker) file(role string) string { return filepath.Join(b.secrets, role+".password") }

// as are the options of a role.
func (b *broker) as(role string) []string {
	args := []string{"--nats", b.url, string(b.way), b.file(role)}
	if b.way == byPassword {
		args = append(args, "--nats-user", role)
	}
	if b.ca != "" {
		args = append(args, "--nats-ca", b.ca)
	}
	return args
}

// connect connects as the role's processes do.
func (b *broker) connect(role string) *nats.Conn {
	b.t.Helper()
	n := config.NATS{NATS: b.url, NATSCA: b.ca, ConnectTimeout: patience}
	switch b.way {
	case byPassword:
		n.NATSUser, n.NATSPassFile = role, b.file(role)
	case byNKey:
		n.NATSNKey = b.file(role)
	case byCreds:
		n.NATSCreds = b.file(role)
	}
	nc, err := bus.Connect(b.t.Context(), bus.Options{Role: role, Process: "test", NATS: n})
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
