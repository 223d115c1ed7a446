/// What happened, line by line, and a digest of it: two runs of one seed have the same.
final class Trace {
    private(set) var lines: [String] = []
    private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    private let scheduler: Scheduler

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    func note(_ text: @autoclosure () -> String) {
        let (seconds, rest) = scheduler.now.quotientAndRemainder(dividingBy: 1_000_000)
        let fraction = String(rest + 1_000_000).dropFirst()
        let line = "\(seconds).\(fraction) \(text())"
        for octet in line.utf8 { digest = (digest ^ UInt64(octet)) &* 0x100_0000_01b3 }
        lines.append(line)
    }
}
