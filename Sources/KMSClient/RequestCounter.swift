import WireText

/// The counter of a session's requests: strictly increasing, also across processes and restarts that share a session.
///
/// It is the time in microseconds (agreed with the KMS), or one more than the last one where that is higher. So
/// processes that never talk to each other stay in order, a counter need not be on the disk before it is used, and a
/// crash loses nothing. 2^53 is reached in the year 2255. When the KMS says that a counter was too low (a clock was set
/// back), `raise` leaps ahead, further each time.
struct RequestCounter {
    private(set) var last: Int64
    private var leap: Int64 = 1_000_000

    init(last: Int64) { self.last = last }

    mutating func next(at time: Timestamp) -> Int64 {
        let (microseconds, overflow) = time.milliseconds.multipliedReportingOverflow(by: 1000)
        last = max(last + 1, overflow ? 0 : microseconds)
        return last
    }

    mutating func raise() {
        last += leap
        if leap < 1 << 42 { leap *= 8 }
    }
}
