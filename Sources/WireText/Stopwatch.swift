extension Clock where Duration == Swift.Duration {
    /// Tells, each time it is asked, how long ago it was made.
    package func stopwatch() -> @Sendable () -> Duration {
        let start = now
        return { start.duration(to: self.now) }
    }
}
