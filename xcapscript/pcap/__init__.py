"""pcap expressions: libpcap compiles them to classic BPF, which is decoded and analysed here."""
