package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/sluicedaq/sluice/internal/config"
)

// maxHealth bounds the answer to a question after health.
const maxHealth = 64 << 10

// Resolve returns where an address is to be asked: of a name every address that it has, in their order, and in the place
// of "all addresses of this machine" the loopback, which is one of them.
func Resolve(ctx context.Context, address config.Address) ([]string, error) {
	host, port, err := net.SplitHostPort(string(address))
	if err != nil {
		return nil, err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		var unknown *net.DNSError
		if errors.As(err, &unknown) && unknown.IsNotFound {
			return nil, fmt.Errorf("%s: nobody has this name", host)
		}
		return nil, err
	}
	var list []string
	for _, ip := range found {
		ip = ip.Unmap()
		text := ip.String()
		switch {
		case ip.IsUnspecified() && ip.Is4():
			text = "127.0.0.1"
		case ip.IsUnspecified():
			text = "::1"
		}
		list = append(list, net.JoinHostPort(text, port))
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Ask asks the process that listens at HOST:PORT how it is. An error means that it did not answer, which a process that
// is stopped does not; that it is not well is in the answer.
func Ask(ctx context.Context, at string) (Health, error) {
	var h Health
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/healthz", http.NoBody)
	if err != nil {
		return h, err
	}
	r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return h, errors.New("no answer in time")
		}
		if op := (*net.OpError)(nil); errors.As(err, &op) { // without the address, which who asks knows
			err = op.Err
		}
		return h, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusServiceUnavailable {
		return h, fmt.Errorf("the answer is %s", r.Status)
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxHealth)).Decode(&h); err != nil {
		return h, fmt.Errorf("the answer is none of ours: %w", err)
	}
	return h, nil
}
