package registry

import (
	"context"
	"time"
)

// CatchUp follows until the copy is level with the chain, or the first failure.
func (m *Mirror) CatchUp(ctx context.Context) error {
	f := m.follower()
	defer f.group.Wait()
	for {
		level, err := f.round(ctx)
		if level || err != nil {
			return err
		}
	}
}

// Post posts what waits for it, once.
func (m *Mirror) Post(ctx context.Context) error { return m.post(ctx) }

// Level is when an endpoint was last asked that showed nothing newer.
func (m *Mirror) Level() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.level
}
