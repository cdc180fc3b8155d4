package backpressure_test

import (
	"encoding"
	"errors"
	"fmt"
	"testing"

	"github.com/sluicedaq/sluice/pkg/backpressure"
)

func TestTexts(t *testing.T) {
	type text interface {
		fmt.Stringer
		encoding.TextMarshaler
	}
	for want, v := range map[string]text{
		"open": open, "throttled": throttled, "full": full,
		"block": backpressure.Block, "drop-newest": backpressure.DropNewest,
		"drop-oldest": backpressure.DropOldest, "latest": backpressure.Latest,
		"": backpressure.Default, "pause": backpressure.Pause, "drop": backpressure.Drop, "fail": backpressure.Fail,
	} {
		b, err := v.MarshalText()
		must(t, err)
		if v.String() != want || string(b) != want {
			t.Errorf("%T: text is %q and %q, want %q", v, v, b, want)
		}
		switch v := v.(type) {
		case backpressure.State:
			var back backpressure.State
			must(t, back.UnmarshalText(b))
			if back != v {
				t.Errorf("%q became %s", b, back)
			}
		case backpressure.Policy:
			var back backpressure.Policy
			must(t, back.UnmarshalText(b))
			if back != v {
				t.Errorf("%q became %s", b, back)
			}
		case backpressure.OnFull:
			var back backpressure.OnFull
			must(t, back.UnmarshalText(b))
			if back != v {
				t.Errorf("%q became %s", b, back)
			}
		}
	}
	for want, v := range map[string]text{
		"state(3)": backpressure.State(3), "policy(4)": backpressure.Policy(4), "onfull(4)": backpressure.OnFull(4),
	} {
		if _, err := v.MarshalText(); v.String() != want || !errors.Is(err, backpressure.ErrPolicy) {
			t.Errorf("%s: text is %q, error %v", want, v, err)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	var s backpressure.State
	var p backpressure.Policy
	o := backpressure.Fail
	for _, u := range []encoding.TextUnmarshaler{&s, &p, &o} {
		wantErr(t, u.UnmarshalText([]byte("stop")), backpressure.ErrPolicy)
	}
	if o != backpressure.Fail {
		t.Error("an unknown name changed the value")
	}
	_, err := backpressure.ParseOnFull("stop")
	if want := `unknown name: no policy for a full budget is called "stop": want pause, drop, fail`; err == nil || err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
}

func TestOnFullFor(t *testing.T) {
	for _, c := range []struct {
		o        backpressure.OnFull
		canPause bool
		want     backpressure.OnFull
	}{
		{backpressure.Default, true, backpressure.Pause},
		{backpressure.Default, false, backpressure.Drop},
		{backpressure.Pause, false, backpressure.Pause},
		{backpressure.Drop, true, backpressure.Drop},
		{backpressure.Fail, true, backpressure.Fail},
	} {
		if got := c.o.For(c.canPause); got != c.want {
			t.Errorf("%q.For(%v) is %q, want %q", c.o, c.canPause, got, c.want)
		}
	}
}
