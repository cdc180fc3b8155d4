package doors_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestRunWithRoles records a run with each process in its role, over a broker that has them all: nothing is refused that a
// run needs, and no password is to be seen. Half of the members get their pixels through JetStream, once over TLS,
// and once each shows who he is by an NKey, once by credentials of an account.
func TestRunWithRoles(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		way          way
		secure       bool
	}{
		{"latest", "latest", byPassword, false}, {"lossless over TLS", "lossless", byPassword, true},
		{"NKeys over TLS", "lossless", byNKey, true}, {"credentials", "latest", byCreds, false},
	} {
		t.Run(c.name, func(t *testing.T) { recordWithRoles(t, start(t, c.way, c.secure), c.policy) })
	}
}

func recordWithRoles(t *testing.T, b *broker, policy string) {
	t.Helper()
	s := programs.NewStation(t, bin, "doors")
	common := []string{"--camera", s.Camera, "--log-level", "debug", "--log-format", "json"}
	all := map[string]*programs.Running{}
	launch := func(role, name string, args ...string) {
		all[name] = bin.Start(t, role, append(append(b.as(role), common...), args...)...)
	}
	launch("acquire", "acquire", "--source", "sim:?width=256&height=256&dtype=uint8&fps=200&pattern=hash", "--budget", "32MiB",
		"--require", "writer=2,analyze=2", "--shard-frames", "64", "--frames", "1000", "--analyze-policy", policy)
	ways := map[string]string{"1": "shm", "2": "jetstream"}
	for n, way := range ways {
		launch("writer", "writer-"+n, "--name", "writer-"+n, "--out", s.Out, "--link", way)
		launch("analyze", "analyze-"+n, "--name", "analyze-"+n, "--link", way)
	}
	ctl := func(role string, args ...string) programs.Result {
		t.Helper()
		args = append(append([]string{"ctl", s.Camera}, args...), b.as(role)...)
		if role != "operator" {
			args = append(args, "--nats-inbox-prefix", "_INBOX."+role)
		}
		return bin.Run(t, "sluice", args...)
	}
	client := bus.NewClient(b.connect("operator"), s.Camera)
	eventually(t, "acquire has all", func() bool {
		st, err := client.Status(t.Context(), bus.RunRequest{})
		return err == nil && len(st.Members) == 4
	})
	for _, role := range []string{"monitor", "writer", "analyze", "acquire"} {
		want := fmt.Sprintf("sluice: the NATS server does not let this user ask camera %s to start\n", s.Camera)
		if r := ctl(role, "start"); r.Code != 2 || r.Stderr != want {
			t.Errorf("%s starts the camera: %d, %s", role, r.Code, r.Stderr)
		}
	}
	if r := ctl("operator", "start"); r.Code != 0 {
		t.Fatalf("the operator: %d, %s", r.Code, r.Stderr)
	}
	eventually(t, "all have frames, each in its way", func() bool {
		st, err := client.Status(t.Context(), bus.RunRequest{})
		return err == nil && !slices.ContainsFunc(st.Members, func(m bus.Member) bool {
			return m.Frames == 0 || m.Carrier != ways[m.Name[len(m.Name)-1:]]
		})
	})
	b.deputize(s.Camera, client)
	if r := bin.Run(t, "sluice", append([]string{"monitor", s.Camera, "--once"}, b.as("monitor")...)...); r.Code != 0 || !strings.Contains(r.Stdout, s.Camera) {
		t.Errorf("the monitor: %d, %s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := ctl("monitor", "status"); r.Code != 0 {
		t.Errorf("the monitor's status: %d, %s", r.Code, r.Stderr)
	}
	secrets := map[string][]byte{}
	for _, role := range roles {
		text, err := os.ReadFile(b.file(role))
		if err != nil || len(bytes.TrimSpace(text)) < 48 {
			t.Fatalf("%s has no secret: %q, %v", role, text, err)
		}
		secrets[role] = bytes.TrimSpace(text)
	}
	// What ps shows, of the arguments and to the user himself of the environment.
	for name, r := range all {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", r.PID(), file))
			if err != nil || file == "cmdline" && len(text) == 0 {
				t.Fatalf("%s: %v", name, err)
			}
			for role, secret := range secrets {
				if bytes.Contains(text, secret) {
					t.Errorf("the %s of %s has the password of %s", file, name, role)
				}
			}
		}
	}
	r := ctl("operator", "wait", "--json")
	var sum run.Summary
	r.LastLine(t, &sum)
	if r.Code != 0 || sum.EndedBy != run.EndedFrames || sum.Captured != 1000 || sum.Written != 1000 || sum.Lost != 0 || sum.Analyzed == 0 {
		t.Errorf("%d: %+v\n%s", r.Code, sum, r.Stderr)
	}
	bin.Verify(t, sum)
	for name, r := range all {
		r.Signal(t, os.Interrupt)
		res := r.Wait(t)
		if res.Code != 0 {
			t.Errorf("%s ended with %d", name, res.Code)
		}
		said := res.Stdout + res.Stderr
		if strings.Contains(strings.ToLower(said), "permission") {
			t.Errorf("%s was refused something:\n%s", name, said)
		}
		for role, secret := range secrets {
			if strings.Contains(said, string(secret)) {
				t.Errorf("%s tells the password of %s", name, role)
			}
		}
	}
}

// deputize has the broker itself say what a member may not: JetStream sends what it has for a consumer, or that it has nothing,
// to any subject that is named to it. To acquire neither is a request.
func (b *broker) deputize(camera string, client *bus.Client) {
	b.t.Helper()
	status := func() bus.Status {
		b.t.Helper()
		st, err := client.Status(b.t.Context(), bus.RunRequest{})
		if err != nil {
			b.t.Fatal(err)
		}
		return st
	}
	before, member := status(), b.connect("writer")
	sent := uint64(0)
	for _, verb := range []bus.Verb{bus.VerbStop, bus.VerbPause} {
		for _, request := range []string{`{"batch":1,"no_wait":true}`, `{"batch":1,"expires":1000000}`, `{"batch":0,"expires":-1}`} {
			err := member.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.sluice_"+camera+".writer-2", bus.ControlSubject(camera, verb), []byte(request))
			if err != nil {
				b.t.Fatal(err)
			}
			sent++
		}
	}
	eventually(b.t, "acquire has refused what the broker was made to say", func() bool {
		return status().Refused[refusal.Answer] >= before.Refused[refusal.Answer]+sent
	})
}

// TestPasswordOnCommandLine: it is refused, and not repeated.
func TestPasswordOnCommandLine(t *testing.T) {
	for _, args := range [][]string{{"acquire"}, {"writer", "--out", "."}, {"analyze"}, {"sluice", "ctl", "cam0", "status"}, {"sluice", "monitor"}} {
		for _, password := range [][]string{{"--nats-password=hush"}, {"--nats-password", "hush"}} {
			r := bin.Run(t, args[0], append(append(args[1:], "--nats-user", "ada"), password...)...)
			if r.Code != 2 || strings.Contains(r.Stderr, "hush") || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, "SLUICE_NATS_PASSWORD") {
				t.Errorf("%q: %d, %s", args, r.Code, r.Stderr)
			}
		}
	}
	for _, c := range []struct{ args, want string }{
		{"--nats-user ada", "--nats-user goes with a password"},
		{"--nats-creds a --nats-nkey b", "give one"},
		{"--nats-cert a", "--nats-cert and --nats-key go together"},
		{"--nats-creds /nowhere", "--nats-creds: open /nowhere: no such file or directory"},
	} {
		for _, program := range [][]string{{"acquire"}, {"writer", "--out", "."}, {"analyze"}, {"sluice", "ctl", "cam0", "status"}, {"sluice", "monitor"}} {
			r := bin.Run(t, program[0], append(append(program[1:], "--nats", "nats://127.0.0.1:1"), strings.Fields(c.args)...)...)
			if r.Code != 2 || !strings.Contains(r.Stderr, c.want) || strings.Count(r.Stderr, "\n") != 1 {
				t.Errorf("%q %s: %d, %s", program, c.args, r.Code, r.Stderr)
			}
		}
	}
}
