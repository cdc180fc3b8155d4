package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluicedaq/sluice/internal/link"
)

// Auto takes a run's pixels out of the slab where it can be opened, which proves that it is this host's, and through
// JetStream elsewhere.
type Auto struct {
	Slab link.Carrier
	Away Carrier
}

var _ link.Carrier = Auto{}

// Names implements link.Carrier.
func (a Auto) Names() []string { return slices.Concat(a.Slab.Names(), a.Away.Names()) }

// Open implements link.Carrier.
func (a Auto) Open(ctx context.Context, armed link.Armed) (link.Mapping, error) {
	m, here := a.Slab.Open(ctx, armed)
	if here == nil {
		return m, nil
	}
	if errors.Is(here, link.ErrProtocol) { // it is there, and of another run
		return nil, here
	}
	m, err := a.Away.Open(ctx, armed)
	if err != nil {
		return nil, fmt.Errorf("%w; through JetStream: %w", here, err)
	}
	a.Away.logger().Info("the slab is not to be had here, frames come through JetStream", "reason", here)
	return m, nil
}
