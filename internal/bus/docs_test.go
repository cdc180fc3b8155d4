package bus_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
)

// TestSubjectsExamples decodes each JSON example of docs/subjects.md strictly into the type that it is of, and
// encodes it again without a difference: no field is unknown, missing or of another form.
func TestSubjectsExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]func() any{
		"Reply": func() any { return &bus.Reply{} }, "ArmRequest": func() any { return &bus.ArmRequest{} },
		"Armed": func() any { return &bus.Armed{} }, "RunRequest": func() any { return &bus.RunRequest{} },
		"StopRequest": func() any { return &bus.StopRequest{} }, "Ack": func() any { return &bus.Ack{} },
		"Status": func() any { return &bus.Status{} }, "MemberStatus": func() any { return &bus.MemberStatus{} },
		"Backpressure": func() any { return &bus.Backpressure{} }, "Event": func() any { return &bus.Event{} },
		"Spatial": func() any { return &analysis.Spatial{} }, "Temporal": func() any { return &analysis.Temporal{} },
	}
	shown := map[string]int{}
	examples := regexp.MustCompile("(?s)<!-- example: (\\w+) -->\n```json\n(.*?)```").FindAllSubmatch(text, -1)
	for _, m := range examples {
		name := string(m[1])
		shown[name]++
		if kinds[name] == nil {
			t.Errorf("there is no message %s", name)
			continue
		}
		v := kinds[name]()
		d := json.NewDecoder(bytes.NewReader(m[2]))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			t.Errorf("%s: %v\n%s", name, err, m[2])
			continue
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var want, got any
		if err := json.Unmarshal(m[2], &want); err != nil {
			t.Error(err)
		}
		if err := json.Unmarshal(again, &got); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-documented +encoded):\n%s", name, diff)
		}
	}
	for name := range kinds {
		if shown[name] == 0 {
			t.Errorf("no example of %s", name)
		}
	}
	if n := bytes.Count(text, []byte("```json")); n != len(examples) {
		t.Errorf("%d JSON blocks, %d of them named", n, len(examples))
	}
}

// TestSubjectsAreDocumented holds the list of subjects and kinds against the functions and constants.
func TestSubjectsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	words := []string{
		bus.StatusSubject("cam0"), bus.BackpressureSubject("cam0"), bus.EventsSubject("cam0"), bus.SpatialSubject("cam0"),
		bus.TemporalSubject("cam0"), bus.PreviewSubject("cam0"), bus.LinkPrefix("cam0") + ">", bus.ControlSubject("cam0", bus.VerbArm),
	}
	for _, v := range bus.Verbs()[1:] {
		words = append(words, "."+string(v))
	}
	for _, k := range []bus.Kind{
		bus.EventArmed, bus.EventStarted, bus.EventShardSealed, bus.EventMemberJoined, bus.EventMemberLost, bus.EventMemberHung,
		bus.EventMemberRestarted, bus.EventFramesLost, bus.EventPaused, bus.EventResumed, bus.EventCameraStalled, bus.EventCameraFailed,
		bus.EventDiskLow, bus.EventRefused, bus.EventStopping, bus.EventDrained, bus.EventFinished, bus.EventFault,
	} {
		words = append(words, string(k))
	}
	for _, s := range []bus.State{
		bus.StateIdle, bus.StateArming, bus.StateWaiting, bus.StateRunning, bus.StatePaused, bus.StateDraining, bus.StateFault,
	} {
		words = append(words, string(s))
	}
	for _, k := range []refusal.Kind{
		refusal.Packet, refusal.Join, refusal.Unknown, refusal.Health, refusal.Message, refusal.Offer, refusal.Stale, refusal.Unkept,
		refusal.Request, refusal.Answer, refusal.Batch, refusal.Result, refusal.Dropped,
	} {
		words = append(words, string(k))
	}
	for _, w := range words {
		if !strings.Contains(text, "`"+w+"`") {
			t.Errorf("docs/subjects.md does not have `%s`", w)
		}
	}
}
