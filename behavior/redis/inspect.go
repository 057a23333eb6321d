package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// Inspect asks each primary how it is set up, and returns what endangers baselines, as
// sentences for a person. It needs the right to INFO.
func (s *Store) Inspect(ctx context.Context) (warnings []string, err error) {
	var lock sync.Mutex
	look := func(ctx context.Context, node *goredis.Client) error {
		info, err := node.Info(ctx, "everything").Result()
		if err != nil {
			return fmt.Errorf("redis: INFO: %w", err)
		}
		found := s.cfg.judge(parseInfo(info))
		lock.Lock()
		defer lock.Unlock()
		for _, w := range found {
			warnings = append(warnings, node.Options().Addr+": "+w)
		}
		return nil
	}
	switch client := s.client.(type) {
	case *goredis.ClusterClient:
		err = client.ForEachMaster(ctx, look)
	case *goredis.Client:
		err = look(ctx, client)
	}
	return warnings, err
}

// parseInfo reads what INFO answers.
func parseInfo(info string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(info) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[k] = v
		}
	}
	return m
}

// judge returns what is wrong with a server.
func (c *Config) judge(info map[string]string) (warnings []string) {
	warn := func(bad bool, format string, args ...any) {
		if bad {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	number := func(key string) int64 { n, _ := strconv.ParseInt(info[key], 10, 64); return n }
	major, _, _ := strings.Cut(info["redis_version"], ".")
	if n, err := strconv.Atoi(major); err == nil {
		warn(n < 7, "its version is %s: 7.0 is the oldest that is tested", info["redis_version"])
	}
	limit, policy := number("maxmemory"), info["maxmemory_policy"]
	warn(limit == 0, "maxmemory is not set: Redis grows until the machine is out of memory")
	warn(policy != "noeviction" && policy != "", "maxmemory-policy is %s: when memory is full it throws baselines away, since each key has a TTL; with noeviction it refuses to write, detection goes on, and epochs are committed when there is room", policy)
	warn(limit > 0 && number("used_memory") > limit/10*8, "it uses %d %% of maxmemory", 100*number("used_memory")/max(limit, 1))
	warn(info["aof_enabled"] == "0", "appendonly is off: after a restart, what came since the last snapshot is gone")
	warn(info["rdb_last_bgsave_status"] == "err" || info["aof_last_write_status"] == "err", "it cannot save to its disk")
	warn(info["role"] == "slave", "it is a replica, and does not take writes")
	warn(info["cluster_enabled"] == "1" && !c.Cluster, "it is a node of a cluster: set cluster = true")
	warn(info["cluster_enabled"] == "0" && c.Cluster, "it is no node of a cluster: leave out cluster")
	replicas := number("connected_slaves")
	warn(replicas > 0 && c.Replicas == 0, "it has replicas, and replicas = 0: when it fails, what it had not given to them is lost; what is still in memory is written again")
	warn(int64(c.Replicas) > replicas, "it has %d replicas, and replicas = %d: no epoch can be committed", replicas, c.Replicas)
	return warnings
}
