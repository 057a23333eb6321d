//go:build !poison

package event

func poison(*Batch) {}
