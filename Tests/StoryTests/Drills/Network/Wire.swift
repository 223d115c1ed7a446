import Foundation
import Glibc
import Synchronization
import TestServers

/// The network between hosts: takes each packet from the sender's cable and gives it to the receiver's, or loses it,
/// holds it back, lets it wait its turn, as the way between the two is at that moment.
///
/// The hosts' kernels do all else: what a program sees is what it would see on a bad network.
final class Wire: Sendable {
    /// How one way is, in one direction.
    struct Condition: Sendable {
        /// Nothing arrives, and nobody says so.
        var isCut = false
        /// How many of all packets do not arrive, 0 to 1.
        var loss = 0.0
        var delay = Duration.zero
        /// What passes within a second; what would have to wait longer than `Wire.patience` is lost.
        var octetsPerSecond: Int?

        static let cut = Condition(isCut: true)
    }

    /// A first packet of a TCP connection.
    struct Opening: Sendable {
        let at: ContinuousClock.Instant
        let from: UInt8
        let to: UInt8
        let port: UInt16
    }

    private struct Way: Hashable {
        let from: UInt8
        let to: UInt8
    }

    /// A TCP connection, the same from both ends.
    private struct Flow: Hashable {
        let ends: Set<[UInt8]>

        /// - Parameter packet: IPv4 with a TCP header at `start`.
        init(_ packet: [UInt8], _ start: Int) {
            ends = [
                Array(packet[12..<16]) + packet[start..<start + 2],
                Array(packet[16..<20]) + packet[start + 2..<start + 4],
            ]
        }
    }

    private struct State {
        var conditions: [Way: Condition] = [:]
        /// When the last packet that waits its turn will be through.
        var busyUntil: [Way: ContinuousClock.Instant] = [:]
        /// Where connections were forgotten: those that began since. In both directions.
        var remembered: [Way: Set<Flow>] = [:]
        var openings: [Opening] = []
        var random = SeededGenerator(seed: 7)
    }

    private struct Waiting {
        let due: ContinuousClock.Instant
        let to: Int32
        let packet: [UInt8]
    }

    /// How much may wait on a slow way.
    static let patience = Duration.seconds(2)

    private let cables: [UInt8: Int32]
    private let state = Mutex(State())

    /// Runs for as long as this process.
    init(_ places: [NetworkPlace]) {
        cables = Dictionary(uniqueKeysWithValues: places.map { ($0.number, $0.cable) })
        Thread.detachNewThread { [self] in run() }
    }

    // MARK: - Orders

    /// Both directions between these and each of the others.
    func set(_ condition: Condition, between some: [NetworkPlace], and others: [NetworkPlace]) {
        set(condition, from: some, to: others)
        set(condition, from: others, to: some)
    }

    func set(_ condition: Condition, from some: [NetworkPlace], to others: [NetworkPlace]) {
        state.withLock { state in
            for from in some {
                for to in others { state.conditions[Way(from: from.number, to: to.number)] = condition }
            }
        }
    }

    /// Connections that stand are forgotten on the way, as a firewall does after a restart: no packet of theirs arrives
    /// any more. New ones pass.
    func forgetConnections(between one: NetworkPlace, and other: NetworkPlace) {
        state.withLock { state in
            for (from, to) in [(one, other), (other, one)] {
                state.remembered[Way(from: from.number, to: to.number)] = []
            }
        }
    }

    /// All ways are good again. Connections that were forgotten stay so.
    func mend() {
        state.withLock { state in
            state.conditions = [:]
            state.busyUntil = [:]
        }
    }

    /// Connections that were begun since, in the order of time.
    func openings(to place: NetworkPlace, since moment: ContinuousClock.Instant) -> [Opening] {
        state.withLock { $0.openings.filter { $0.to == place.number && $0.at >= moment } }
    }

    // MARK: - Packets

    private func run() {
        var pending: [Waiting] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var polled = cables.map { pollfd(fd: $0.value, events: Int16(POLLIN), revents: 0) }
        while true {
            let pause = pending.first.map { max(.zero, ContinuousClock.now.duration(to: $0.due)) } ?? .seconds(1)
            poll(&polled, nfds_t(polled.count), Int32(min(pause / .milliseconds(1) + 1, 1000)))
            for entry in polled where entry.revents & Int16(POLLIN) != 0 {
                while true {
                    let count = buffer.withUnsafeMutableBytes { read(entry.fd, $0.baseAddress, $0.count) }
                    guard count > 0 else { break }
                    take(Array(buffer[..<count]), &pending)
                }
            }
            let now = ContinuousClock.now
            let due = pending.prefix { $0.due <= now }
            for entry in due { give(entry.packet, to: entry.to) }
            pending.removeFirst(due.count)
        }
    }

    /// Only IPv4 between hosts that are there.
    private func take(_ packet: [UInt8], _ pending: inout [Waiting]) {
        guard packet.count >= 20, packet[0] >> 4 == 4, let cable = cables[packet[19]] else { return }
        let now = ContinuousClock.now
        guard let due = state.withLock({ Self.due(packet, now, &$0) }) else { return }
        guard due > now else { return give(packet, to: cable) }
        let place = pending.firstIndex { $0.due > due } ?? pending.count
        pending.insert(Waiting(due: due, to: cable, packet: packet), at: place)
    }

    /// When it arrives; nil for never.
    private static func due(
        _ packet: [UInt8], _ now: ContinuousClock.Instant, _ state: inout State
    ) -> ContinuousClock.Instant? {
        let way = Way(from: packet[15], to: packet[19])
        let start = Int(packet[0] & 0x0F) * 4
        if packet[9] == 6, packet.count >= start + 20 {
            let flow = Flow(packet, start)
            if packet[start + 13] & 0x12 == 0x02 {
                let port = UInt16(packet[start + 2]) << 8 | UInt16(packet[start + 3])
                state.openings.append(Opening(at: now, from: way.from, to: way.to, port: port))
                state.remembered[way]?.insert(flow)
                state.remembered[Way(from: way.to, to: way.from)]?.insert(flow)
            } else if let remembered = state.remembered[way], !remembered.contains(flow) {
                return nil
            }
        }
        guard let condition = state.conditions[way] else { return now }
        if condition.isCut { return nil }
        if condition.loss > 0, Double.random(in: 0..<1, using: &state.random) < condition.loss { return nil }
        guard let rate = condition.octetsPerSecond else { return now + condition.delay }
        let free = max(now, state.busyUntil[way] ?? now)
        guard now.duration(to: free) < patience else { return nil }
        let through = free + .microseconds(packet.count * 1_000_000 / rate)
        state.busyUntil[way] = through
        return through + condition.delay
    }

    private func give(_ packet: [UInt8], to cable: Int32) {
        // A cable that takes no more loses it, as networks do.
        _ = packet.withUnsafeBytes { write(cable, $0.baseAddress, $0.count) }
    }
}
