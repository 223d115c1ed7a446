import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import SecretMemory

/// People who make keys and read them back without a pause, and remember every one that was acknowledged.
final class KeyLoad: Sendable {
    private actor Book {
        var keys: [(person: Int, uri: String, octets: [UInt8])] = []
        var requests = 0
        var failures: [String] = []
        /// When each answer came, how long it took, and to whom.
        var answers: [(at: ContinuousClock.Instant, took: Duration, person: Int)] = []
        var isOver = false

        func acknowledged(_ key: KMSKey, by person: Int) {
            keys.append((person, key.uri, key.key.withUnsafeBytes { Array($0) }))
        }
        func answered(_ took: Duration, _ person: Int) {
            requests += 1
            answers.append((.now, took, person))
        }
        func failed(_ what: String) {
            requests += 1
            failures.append(what)
        }
        func end() { isOver = true }
    }

    private let people: [Person]
    private let book = Book()
    private let work: Task<Void, Never>

    /// Begins at once; everybody makes a pause after each key.
    init(_ people: [Person], pause: Duration = .zero) {
        self.people = people
        let book = book
        work = Task {
            await withTaskGroup(of: Void.self) { group in
                for (index, person) in people.enumerated() {
                    group.addTask { await Self.work(person, index, book, pause) }
                }
            }
        }
    }

    private static func work(_ person: Person, _ index: Int, _ book: Book, _ pause: Duration) async {
        while await !book.isOver {
            var start = ContinuousClock.now
            do {
                guard case .keys(let keys) = try await person.client.kms.perform(.createKeys(count: 1)).body,
                    let key = keys.first
                else {
                    await book.failed("no key in the answer")
                    continue
                }
                await book.answered(start.duration(to: .now), index)
                await book.acknowledged(key, by: index)
                start = .now
                _ = try await person.client.kms.perform(.retrieveKey(key.uri))
                await book.answered(start.duration(to: .now), index)
            } catch {
                await book.failed("\(error)")
            }
            if pause > .zero { try? await Task.sleep(for: pause) }
        }
    }

    var requests: Int { get async { await book.requests } }
    var failures: [String] { get async { await book.failures } }
    var acknowledged: Int { get async { await book.keys.count } }

    /// The first answer after a moment.
    func answer(after moment: ContinuousClock.Instant) async -> ContinuousClock.Instant? {
        await book.answers.first { $0.at > moment && $0.at - $0.took > moment }?.at
    }

    /// When the last of all had an answer to something asked after a moment; nil as long as somebody has none.
    func everybodyAnswered(after moment: ContinuousClock.Instant) async -> ContinuousClock.Instant? {
        var first: [Int: ContinuousClock.Instant] = [:]
        for answer in await book.answers.reversed() {
            guard answer.at > moment else { break }
            if answer.at - answer.took > moment { first[answer.person] = answer.at }
        }
        return first.count == people.count ? first.values.max() : nil
    }

    /// The longest that anybody waited for an answer that came.
    var longest: Duration { get async { await book.answers.map(\.took).max() ?? .zero } }

    func stop() async {
        await book.end()
        await work.value
    }

    /// Asks for every key that was acknowledged; how many are not there, or are not the same.
    func missing() async throws -> Int {
        let keys = await book.keys
        return try await withThrowingTaskGroup(of: Int.self) { group in
            for (index, person) in people.enumerated() {
                group.addTask {
                    var missing = 0
                    for entry in keys where entry.person == index {
                        let answer = try await person.client.kms.ask(.retrieveKey(entry.uri))
                        guard case .key(let key) = answer.body, key.key.withUnsafeBytes({ Array($0) }) == entry.octets
                        else {
                            missing += 1
                            continue
                        }
                    }
                    return missing
                }
            }
            return try await group.reduce(0, +)
        }
    }
}
