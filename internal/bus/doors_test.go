package bus_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
)

// serverOf starts a NATS server with options, and returns its address.
func serverOf(t *testing.T, opts server.Options) string {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return "nats://" + s.Addr().String()
}

// door is a way to knock, and what comes of it: err is how the one line ends, empty where it opens.
type door struct {
	what string
	n    config.NATS
	err  string
}

// knock tries doors. Errors are one line that names no secret, with the code for what the user can mend.
func knock(t *testing.T, url string, secrets []string, doors ...door) {
	t.Helper()
	for _, d := range doors {
		d.n.NATS, d.n.ConnectTimeout = url, time.Minute
		nc, err := bus.Connect(t.Context(), bus.Options{NATS: d.n, Role: "monitor", Process: "test"})
		if err == nil {
			if in := nc.NewRespInbox(); !strings.HasPrefix(in, "_INBOX.monitor.") {
				t.Errorf("%s: answers go to %s", d.what, in)
			}
			nc.Close()
		}
		switch {
		case (err == nil) != (d.err == ""):
			t.Errorf("%s: %v, want %q", d.what, err, d.err)
		case err != nil && (!strings.HasSuffix(err.Error(), d.err) || exit.Code(err) != exit.Usage || !errors.Is(err, bus.ErrNoBroker) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: code %d, %v; want %q", d.what, exit.Code(err), err, d.err)
		}
		for _, secret := range secrets {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error has a secret: %v", d.what, err)
			}
		}
	}
}

// write writes a file of the test's.
func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPassword(t *testing.T) {
	const secret = "s3cret-of-ada"
	url := serverOf(t, server.Options{Username: "ada", Password: secret})
	right, wrong, empty := write(t, "p", []byte(secret+"\nnot this\n")), write(t, "p", []byte("no-"+secret)), write(t, "p", []byte("\n"))
	knock(t, url, []string{secret},
		door{"a file", config.NATS{NATSUser: "ada", NATSPassFile: right}, ""},
		door{"the environment", config.NATS{NATSUser: "ada", NATSPassword: secret}, ""},
		door{"a wrong one", config.NATS{NATSUser: "ada", NATSPassFile: wrong}, "refused: nats: Authorization Violation"},
		door{"none", config.NATS{}, "refused: nats: Authorization Violation"},
		door{"no file", config.NATS{NATSUser: "ada", NATSPassFile: right + "x"}, "--nats-password-file: open " + right + "x: no such file or directory"},
		door{"an empty file", config.NATS{NATSUser: "ada", NATSPassFile: empty}, empty + " has no password in its first line"},
	)
}

func TestNKey(t *testing.T) {
	var files, keys, seeds []string
	for range 2 {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		seed, err1 := pair.Seed()
		key, err2 := pair.PublicKey()
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		files, keys, seeds = append(files, write(t, "nk", seed)), append(keys, key), append(seeds, string(seed))
	}
	junk := write(t, "nk", []byte("SU"+strings.Repeat("A", 40)))
	url := serverOf(t, server.Options{Nkeys: []*server.NkeyUser{{Nkey: keys[0]}}})
	knock(t, url, seeds,
		door{"the user's", config.NATS{NATSNKey: files[0]}, ""},
		door{"another's", config.NATS{NATSNKey: files[1]}, "refused: nats: Authorization Violation"},
		door{"no seed", config.NATS{NATSNKey: junk}, "--nats-nkey: " + junk + " has no seed of a user's NKey"},
		door{"no file", config.NATS{NATSNKey: junk + "x"}, "no such file or directory"},
	)
}

func TestCredentials(t *testing.T) {
	pairs := map[nkeys.PrefixByte]nkeys.KeyPair{}
	public := func(kind nkeys.PrefixByte) string {
		pair, err := nkeys.CreatePair(kind)
		if err != nil {
			t.Fatal(err)
		}
		pairs[kind] = pair
		key, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	operator, account := public(nkeys.PrefixByteOperator), public(nkeys.PrefixByteAccount)
	token, err := jwt.NewAccountClaims(account).Encode(pairs[nkeys.PrefixByteOperator])
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(account, token); err != nil {
		t.Fatal(err)
	}
	url := serverOf(t, server.Options{TrustedKeys: []string{operator}, AccountResolver: resolver})
	var seeds []string
	creds := func(expires int64) string {
		claims := jwt.NewUserClaims(public(nkeys.PrefixByteUser))
		claims.Expires = expires
		token, err := claims.Encode(pairs[nkeys.PrefixByteAccount])
		if err != nil {
			t.Fatal(err)
		}
		seed, err := pairs[nkeys.PrefixByteUser].Seed()
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, string(seed))
		text, err := jwt.FormatUserConfig(token, seed)
		if err != nil {
			t.Fatal(err)
		}
		return write(t, "user.creds", text)
	}
	good, late, old := creds(0), creds(time.Now().Add(time.Hour).Unix()), creds(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC).Unix())
	junk := write(t, "user.creds", []byte("-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n"+seeds[0]))
	knock(t, url, seeds,
		door{"good", config.NATS{NATSCreds: good}, ""},
		door{"for an hour", config.NATS{NATSCreds: late}, ""},
		door{"over", config.NATS{NATSCreds: old}, "nats: authentication expired: the credentials in " + old + " expired at 2020-01-02T03:04:05Z"},
		door{"junk", config.NATS{NATSCreds: junk}, "--nats-creds: " + junk + " is no NATS credentials file"},
		door{"no file", config.NATS{NATSCreds: junk + "x"}, "--nats-creds: open " + junk + "x: no such file or directory"},
	)
}

func TestTLS(t *testing.T) {
	ca, other := bustest.NewAuthority(t), bustest.NewAuthority(t)
	own, ownKey := ca.Certify(t)
	user, userKey := ca.Certify(t)
	pair, err := tls.LoadX509KeyPair(own, ownKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	mutual := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13}
	one := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	knock(t, serverOf(t, server.Options{TLSConfig: one, TLSTimeout: 10}), nil,
		door{"its authority", config.NATS{NATSCA: ca.File}, ""},
		door{"another name of its", config.NATS{NATSCA: ca.File, NATSServerName: "broker.lab"}, ""},
		door{"a name that it has not", config.NATS{NATSCA: ca.File, NATSServerName: "other.lab"}, "x509: certificate is valid for broker.lab, not other.lab"},
		door{"another authority", config.NATS{NATSCA: other.File}, `while trying to verify candidate authority certificate "test")`},
		door{"no authority", config.NATS{}, "x509: certificate signed by unknown authority"},
		door{"no file", config.NATS{NATSCA: ca.File + "x"}, "--nats-ca: open " + ca.File + "x: no such file or directory"},
		door{"no certificate", config.NATS{NATSCA: ownKey}, "--nats-ca: " + ownKey + " has no certificate"},
		door{"another's key", config.NATS{NATSCA: ca.File, NATSCert: user, NATSKey: ownKey}, "tls: private key does not match public key"},
	)
	knock(t, serverOf(t, server.Options{TLSConfig: mutual, TLSTimeout: 10, TLSVerify: true}), nil,
		door{"without one", config.NATS{NATSCA: ca.File}, "refused: remote error: tls: certificate required"},
		door{"with a certificate", config.NATS{NATSCA: ca.File, NATSCert: user, NATSKey: userKey}, ""},
	)
	knock(t, serverOf(t, server.Options{}), nil,
		door{"a server without", config.NATS{NATSCA: ca.File}, "nats: secure connection not available"},
	)
}
