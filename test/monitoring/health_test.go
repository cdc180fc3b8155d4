package monitoring_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestHealthCommand: `sluice health` says of real processes whether they are well: not of one that is stopped, nor of a
// member whose acquire is gone, nor of anybody whose broker is gone.
func TestHealthCommand(t *testing.T) {
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	shut := func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	}
	t.Cleanup(shut)
	if !broker.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	c := startOn(t, "health", broker.ClientURL())
	address := func(r *programs.Running) string {
		return strings.TrimSuffix(strings.TrimPrefix(listens(t, r), "http://"), "/metrics")
	}
	acquire, writer, other := address(c.acquire), address(c.writer), address(c.other)

	// well waits until the command exits with 0 and names the process.
	well := func(at, process string) {
		t.Helper()
		eventually(t, process+" is well", func() bool {
			r := bin.Run(t, "sluice", "health", at)
			return r.Code == exit.OK && r.Stdout == at+" "+process+": well\n" && r.Stderr == ""
		})
	}
	// ill waits until it exits with 1 and one line that has the reason.
	ill := func(at, reason string) {
		t.Helper()
		var r programs.Result
		eventually(t, at+" is not well: "+reason, func() bool {
			r = bin.Run(t, "sluice", "health", "--timeout", "500ms", at)
			return r.Code == exit.Internal && r.Stderr == "sluice: 1 of 1 not well: "+at+": "+reason+"\n" && r.Stdout == ""
		})
	}
	well(acquire, "acquire")
	well(writer, "writer-1")
	well(other, "analyze-1")
	if r := bin.Run(t, "sluice", "health", acquire, writer, other); r.Code != exit.OK || strings.Count(r.Stdout, "\n") != 3 {
		t.Errorf("all at once: %+v", r)
	}
	// As in a container: the variable that has the process listen on all addresses tells where to ask.
	port := writer[strings.LastIndexByte(writer, ':'):]
	if r := bin.StartWith(t, []string{"SLUICE_METRICS=0.0.0.0" + port}, "sluice", "health", "--json").Wait(t); r.Code != exit.OK ||
		!strings.HasPrefix(r.Stdout, `{"address":"`+writer+`","ok":true,"process":"writer-1"`) {
		t.Errorf("by the variable: %+v", r)
	}

	c.writer.Signal(t, syscall.SIGSTOP)
	ill(writer, "no answer in time")
	c.writer.Signal(t, syscall.SIGCONT)
	well(writer, "writer-1")

	c.acquire.Signal(t, syscall.SIGKILL)
	c.acquire.Wait(t)
	ill(writer, "nothing is heard of acquire")
	ill(acquire, "connect: connection refused")

	shut()
	ill(other, "the broker is not connected")
}
