/// A picture as a PDF of one page, for the one converter that draws pages: nothing of the picture is decoded here.
///
/// JPEG and PNG carry what PDF's own filters read (ISO 32000, 7.4.8 and 7.4.4.4), so only their headers are looked at. A PNG
/// with transparency is drawn on white by a tint function. Interlaced PNG and other formats are not for this way: nil.
package enum ImagePage {
    package struct Page: Sendable, Equatable {
        package let width: Int
        package let height: Int
        package let pdf: [UInt8]
    }

    /// Larger ones would only cost memory.
    static let maximumPixels = 100_000_000
    private static let longestSide = 30_000

    package static func isImage(_ octets: [UInt8]) -> Bool { isJPEG(octets) || isPNG(octets) }

    package static func page(of octets: [UInt8]) -> Page? {
        isJPEG(octets) ? jpeg(octets) : isPNG(octets) ? png(octets) : nil
    }

    private static func isJPEG(_ octets: [UInt8]) -> Bool { octets.starts(with: [0xFF, 0xD8, 0xFF]) }
    private static func isPNG(_ octets: [UInt8]) -> Bool {
        octets.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
    }

    private static func fits(_ width: Int, _ height: Int) -> Bool {
        (1...longestSide).contains(width) && (1...longestSide).contains(height) && width * height <= maximumPixels
    }

    // MARK: - JPEG (ITU-T T.81, B.1.1)

    private static func jpeg(_ octets: [UInt8]) -> Page? {
        var place = 2
        while place + 4 <= octets.count {
            guard octets[place] == 0xFF else { return nil }
            let marker = octets[place + 1]
            if marker == 0xFF {
                place += 1
                continue
            }
            // Without a length.
            if marker == 0x01 || (0xD0...0xD8).contains(marker) {
                place += 2
                continue
            }
            let length = Int(octets[place + 2]) << 8 | Int(octets[place + 3])
            guard length >= 2, place + 2 + length <= octets.count, marker != 0xD9, marker != 0xDA else { return nil }
            // Baseline, extended and progressive frames.
            if (0xC0...0xC2).contains(marker) {
                guard length >= 8, octets[place + 4] == 8 else { return nil }
                let height = Int(octets[place + 5]) << 8 | Int(octets[place + 6])
                let width = Int(octets[place + 7]) << 8 | Int(octets[place + 8])
                let space: String
                switch octets[place + 9] {
                case 1: space = "/DeviceGray"
                case 3: space = "/DeviceRGB"
                // What programs write with four colours is inverted.
                case 4: space = "/DeviceCMYK /Decode [1 0 1 0 1 0 1 0]"
                default: return nil
                }
                guard fits(width, height) else { return nil }
                return document(
                    width, height, "/ColorSpace \(space) /BitsPerComponent 8 /Filter /DCTDecode", octets, [])
            }
            place += 2 + length
        }
        return nil
    }

    // MARK: - PNG (ISO 15948, 5 and 11)

    private static func png(_ octets: [UInt8]) -> Page? {
        var header: ArraySlice<UInt8>?
        var palette: ArraySlice<UInt8> = []
        var data: [UInt8] = []
        var place = 8
        chunks: while place + 12 <= octets.count {
            let length = octets[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length <= octets.count - place - 12 else { return nil }
            let content = octets[place + 8..<place + 8 + length]
            switch String(decoding: octets[place + 4..<place + 8], as: UTF8.self) {
            case "IHDR": header = content
            case "PLTE": palette = content
            case "IDAT": data += content
            case "IEND": break chunks
            default: break
            }
            place += 12 + length
        }
        guard let header = header.map({ Array($0) }), header.count == 13, header[12] == 0, !data.isEmpty else {
            return nil
        }
        let width = header[0..<4].reduce(0) { $0 << 8 | Int($1) }
        let height = header[4..<8].reduce(0) { $0 << 8 | Int($1) }
        let depth = Int(header[8])
        guard fits(width, height), [1, 2, 4, 8, 16].contains(depth) else { return nil }
        let (space, colours): (String, Int)
        var function: [UInt8] = []
        switch header[9] {
        case 0: (space, colours) = ("/DeviceGray", 1)
        case 2: (space, colours) = ("/DeviceRGB", 3)
        case 3:
            guard !palette.isEmpty, palette.count % 3 == 0, palette.count <= 768, depth <= 8 else { return nil }
            let hexadecimal = palette.map { octet in
                let digits = String(octet, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }.joined()
            (space, colours) = ("[/Indexed /DeviceRGB \(palette.count / 3 - 1) <\(hexadecimal)>]", 1)
        case 4:
            (space, colours) = ("[/DeviceN [/G /A] /DeviceGray 6 0 R]", 2)
            function = tint(inputs: 2, outputs: 1, "{dup 1 exch sub 3 1 roll mul add}")
        case 6:
            (space, colours) = ("[/DeviceN [/R /G /B /A] /DeviceRGB 6 0 R]", 4)
            function = tint(
                inputs: 4, outputs: 3,
                "{dup 1 exch sub 5 1 roll dup 3 -1 roll mul 4 index add 5 1 roll dup 3 -1 roll mul 3 index add "
                    + "5 1 roll mul add 3 1 roll}")
        default: return nil
        }
        let parameters =
            "/ColorSpace \(space) /BitsPerComponent \(depth) /Filter /FlateDecode /DecodeParms << /Predictor 15 "
            + "/Colors \(colours) /BitsPerComponent \(depth) /Columns \(width) >>"
        return document(width, height, parameters, data, function)
    }

    /// Colour over white: colour * alpha + 1 - alpha.
    private static func tint(inputs: Int, outputs: Int, _ program: String) -> [UInt8] {
        func ranges(_ count: Int) -> String { String(repeating: "0 1 ", count: count) }
        return object(
            6,
            "<< /FunctionType 4 /Domain [\(ranges(inputs))] /Range [\(ranges(outputs))] /Length \(program.utf8.count) >>\n"
                + "stream\n\(program)\nendstream")
    }

    // MARK: - PDF

    private static func object(_ number: Int, _ text: String) -> [UInt8] {
        Array("\(number) 0 obj\n\(text)\nendobj\n".utf8)
    }

    private static func document(
        _ width: Int, _ height: Int, _ parameters: String, _ data: [UInt8], _ function: [UInt8]
    ) -> Page {
        // A page has at most 14,400 units a side.
        let scale = min(1, 10_000 / Double(max(width, height)))
        let (across, up) = (max(1, Int(Double(width) * scale)), max(1, Int(Double(height) * scale)))
        let drawing = "q \(across) 0 0 \(up) 0 0 cm /I Do Q"
        var pdf = Array("%PDF-1.7\n".utf8)
        var places: [Int] = []
        func add(_ octets: [UInt8]) {
            places.append(pdf.count)
            pdf += octets
        }
        add(object(1, "<< /Type /Catalog /Pages 2 0 R >>"))
        add(object(2, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"))
        add(
            object(
                3,
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 \(across) \(up)] /Contents 4 0 R "
                    + "/Resources << /XObject << /I 5 0 R >> >> >>"))
        add(object(4, "<< /Length \(drawing.utf8.count) >>\nstream\n\(drawing)\nendstream"))
        add(
            Array(
                ("5 0 obj\n<< /Type /XObject /Subtype /Image /Width \(width) /Height \(height) \(parameters) "
                    + "/Length \(data.count) >>\nstream\n").utf8) + data + Array("\nendstream\nendobj\n".utf8))
        if !function.isEmpty { add(function) }
        let table = pdf.count
        var end = "xref\n0 \(places.count + 1)\n0000000000 65535 f \n"
        for place in places {
            let digits = String(place)
            end += String(repeating: "0", count: 10 - digits.count) + digits + " 00000 n \n"
        }
        end += "trailer\n<< /Size \(places.count + 1) /Root 1 0 R >>\nstartxref\n\(table)\n%%EOF\n"
        return Page(width: width, height: height, pdf: pdf + Array(end.utf8))
    }
}
